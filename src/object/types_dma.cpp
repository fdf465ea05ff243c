// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// dma-space, dma-mapping
#include <sys/stat.h>

#include <algorithm>

#include "error/compose.hpp"
#include "iommufd/dma/space.hpp"
#include "object/kinds.hpp"
#include "object/words.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::object {
namespace {

class SpaceObject final : public Object {
public:
    SpaceObject(dma::Space space, bool has_faults) : space_(std::move(space)), has_faults_(has_faults) {}

    Handle handle() const noexcept override { return &*space_; }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "devices") return joined(space_->devices());
        if (key == "sinks") return joined(space_->sinks());
        if (key == "mappings") return compose(space_->mappings().size());
        const auto ioas = key == "ioas" ? space_->ioas() : std::nullopt;
        return ioas ? std::optional(compose(ioas->value)) : std::nullopt;
    }
    Result<std::shared_ptr<const viommu::PageRequests>> page_requests(const core::Context& context) override {
        std::shared_ptr<const viommu::PageRequests> requests = requests_.lock();
        if (requests || !has_faults_) return requests;
        auto made = viommu::PageRequests::alloc(context, {.label = space_->id()});
        if (!made) return made.error();
        requests = std::make_shared<const viommu::PageRequests>(*std::move(made));
        requests_ = requests;
        return requests;
    }
    const viommu::PageRequests* page_requests() const noexcept override { return requests_.lock().get(); }
    Result<void> destroy() override {
        space_.reset();
        return {};
    }
    bool is_gone() const noexcept override { return !space_; }

private:
    std::optional<dma::Space> space_;
    const bool has_faults_;
    std::weak_ptr<const viommu::PageRequests>
        requests_;  // its devices': the queue goes with the last of them
};

std::string_view name_of(dma::MappingState state) {
    switch (state) {
        case dma::MappingState::planned:
            return "planned";
        case dma::MappingState::mapped:
            return "mapped";
        case dma::MappingState::unreached:
            return "unreached";
        case dma::MappingState::busy:
            return "busy";
        case dma::MappingState::stuck:
            return "stuck";
    }
    return {};
}

class MappingObject final : public Object {
public:
    explicit MappingObject(dma::Mapping mapping) : mapping_(std::move(mapping)) {}

    Handle handle() const noexcept override { return &*mapping_; }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "iova") return compose(Hex{mapping_->iova().value});
        if (key == "size") return compose(mapping_->range().length());
        if (key == "state") return std::string(name_of(mapping_->state()));
        return std::nullopt;
    }
    Result<void> destroy() override {
        if (!mapping_) return {};
        auto unmapped = std::move(*mapping_).unmap();
        if (unmapped) mapping_.reset();
        return unmapped;
    }
    bool is_gone() const noexcept override { return !mapping_; }

private:
    std::optional<dma::Mapping> mapping_;
};

// All pages of a mapping are pinned. Those of a device (DAX) aren't the machine's.
Result<void> check_pages(const dma::Memory& memory, const dma::MapOptions& options, const Site& site) {
    sys::FileStatus status{};
    if (memory.fd() >= 0 && (site.kernel().fstat(memory.fd(), status) < 0 || S_ISCHR(status.mode))) return {};
    const std::uint64_t rest = memory.size() - std::min(options.offset, memory.size());
    const std::uint64_t length = options.length != 0 ? options.length : rest;
    // More than the rest is refused for that.
    return length <= rest ? check_machine_has(length, memory.label(), site) : Result<void>();
}

}  // namespace

Made create_space(const Values& values, const Site& site) {
    const auto make = [&]() -> Result<dma::Space> {
        if (!values.has("iommufd"))
            return dma::Space::without_iommufd({.id = values.id()}, site.options.report);
        return site.registry.get<Backend>(values.text("iommufd")).and_then([&](const Backend* backend) {
            return dma::Space::on(*backend, {.id = values.id()});
        });
    };
    auto space = make();
    if (!space) return space.error();
    return std::make_unique<SpaceObject>(*std::move(space), values.flag("faults"));
}

Made create_mapping(const Values& values, const Site& site) {
    const auto space = site.registry.get<dma::Space>(values.text("space"));
    if (!space) return space.error();
    const auto memory = site.registry.get<dma::Memory>(values.text("memdev"));
    if (!memory) return memory.error();
    dma::MapOptions options{.iova = {},
                            .offset = values.bytes("offset"),
                            .length = values.bytes("size"),
                            .access = values.flag("readonly") ? Access::read : Access::read_write,
                            .granule = values.bytes("granule")};
    if (auto enough = check_pages(**memory, options, site); !enough) return enough.error();
    if (values.has("iova")) options.iova = Iova{values.bytes("iova")};
    auto mapping = (*space)->map(**memory, options);
    if (!mapping) return mapping.error();
    return std::make_unique<MappingObject>(*std::move(mapping));
}

Result<void> check_mapping(const Values& values) {
    // The library takes 0 for "to the end", the command line has no size= for that.
    if (values.has("size") && values.bytes("size") == 0)
        return cannot_create(values.definition(), "size=0 maps nothing",
                             "give it at least one page, or leave it out for all of the memory");
    return {};
}

}  // namespace iommufd::inline v0_1::object
