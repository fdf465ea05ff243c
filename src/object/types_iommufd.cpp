// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// iommufd
#include "iommufd/backend/backend.hpp"
#include "object/kinds.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

class IommufdObject final : public Object {
public:
    explicit IommufdObject(Backend backend) : backend_(std::move(backend)) {}

    Handle handle() const noexcept override { return &backend_; }
    int descriptor() const noexcept override {
        const auto context = backend_.context();
        return context ? context->fd() : -1;
    }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "open") return backend_.is_open() ? "on" : "off";
        if (key == "users") return joined(backend_.users());
        if (key == "references") return joined(backend_.references());
        return std::nullopt;
    }
    Result<void> destroy() override {
        auto destroyed = std::move(backend_).destroy();
        gone_ = static_cast<bool>(destroyed);
        return destroyed;
    }
    bool is_gone() const noexcept override { return gone_; }

private:
    Backend backend_;
    bool gone_ = false;
};

}  // namespace

Made create_iommufd(const Values& values, const Site& site) {
    Backend::Options options{
        .id = values.id(), .fd = {}, .report = site.options.report, .kernel = &site.kernel()};
    if (values.has("fd")) options.fd = AdoptFd{site.descriptors.release(values.descriptor("fd"))};
    auto backend = Backend::open(std::move(options));
    if (!backend) return backend.error();
    return std::make_unique<IommufdObject>(*std::move(backend));
}

}  // namespace iommufd::inline v0_1::object
