// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/space.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "capi/call.hpp"
#include "capi/handles.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

// As C's lists tell it.
Result<int> count_of(std::size_t count) noexcept {
    return static_cast<int>(std::min(count, static_cast<std::size_t>(std::numeric_limits<int>::max())));
}

dma::UnmapOptions within(int timeout_ms) {
    dma::UnmapOptions options;
    if (timeout_ms >= 0)
        options.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    return options;
}

Result<dma::MapOptions> map_options(const iommufd_map_options* given) {
    auto options = options_of(given);
    if (!options) return options.error();
    if (auto known = check_flags(options->flags, std::uint32_t{IOMMUFD_MAP_AT}); !known) return known.error();
    if (auto known = check_flags(options->access, std::uint32_t{IOMMUFD_READ_WRITE}); !known)
        return known.error();
    dma::MapOptions result{.offset = options->offset,
                           .length = options->length,
                           .granule = options->granule,
                           .guard = options->guard,
                           .within = {}};
    if (options->flags & IOMMUFD_MAP_AT) result.iova = Iova{options->iova};
    if (options->access != 0) result.access = static_cast<Access>(options->access);
    if (options->pinned_by) result.pinned_by = &options->pinned_by->space;
    return result;
}

iommufd_mapped as_c(const dma::MappingInfo& info) noexcept {
    iommufd_mapped mapped{.first = info.range.first.value,
                          .last = info.range.last.value,
                          .offset = info.offset,
                          .granule = info.granule,
                          .access = static_cast<std::uint32_t>(info.access),
                          .state = static_cast<std::uint32_t>(info.state),
                          .memory = {}};
    info.memory.copy(mapped.memory, sizeof mapped.memory - 1);
    return mapped;
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::call;
using capi::is_null;

int iommufd_space_create(const iommufd_object* object, const iommufd_space_options* given,
                         iommufd_space** space) {
    return call([&]() -> Result<void> {
        if (!space) return is_null("the pointer to the space");
        auto options = capi::options_of(given);
        if (!options) return options.error();
        if (auto known = capi::check_flags(options->flags, std::uint32_t{IOMMUFD_SPACE_SMALL_PAGES}); !known)
            return known;
        dma::Space::Options how{.huge_pages = (options->flags & IOMMUFD_SPACE_SMALL_PAGES) == 0};
        if (options->id) how.id = options->id;
        auto made = object ? dma::Space::on(object->backend, std::move(how))
                           : dma::Space::without_iommufd(std::move(how));
        if (!made) return made.error();
        *space = new iommufd_space{*std::move(made)};
        return {};
    });
}

void iommufd_space_free(iommufd_space* space) { delete space; }

int iommufd_space_map(const iommufd_space* space, const iommufd_memory* memory,
                      const iommufd_map_options* given, uint64_t* iova, iommufd_mapping** mapping) {
    return call([&]() -> Result<void> {
        if (!space || !memory) return is_null("space and memory");
        auto options = capi::map_options(given);
        if (!options) return options.error();
        auto mapped = space->space.map(memory->memory, *options);
        if (!mapped) return mapped.error();
        const Iova where = mapped->iova();
        if (mapping)
            *mapping = new iommufd_mapping{*std::move(mapped)};
        else
            std::move(*mapped).leave();
        if (iova) *iova = where.value;
        return {};
    });
}

int iommufd_space_unmap(const iommufd_space* space, uint64_t iova, uint64_t length, int timeout_ms,
                        uint64_t* unmapped) {
    return call([&]() -> Result<void> {
        if (!space) return is_null("the space");
        const auto range = Range::of(Iova{iova}, length);
        if (!range)
            return capi::refused(EINVAL, "cannot unmap that range", "it has no byte, or goes past 2^64",
                                 "give a range of addresses");
        return space->space.unmap(*range, capi::within(timeout_ms)).transform([&](std::uint64_t bytes) {
            if (unmapped) *unmapped = bytes;
        });
    });
}

int iommufd_mapping_unmap(iommufd_mapping* mapping, int timeout_ms) {
    return call([&]() -> Result<void> {
        if (!mapping) return is_null("the mapping");
        auto unmapped = std::move(mapping->mapping).unmap(capi::within(timeout_ms));
        if (unmapped || unmapped.error().code() == ETIMEDOUT) delete mapping;
        return unmapped;
    });
}

void iommufd_mapping_free(iommufd_mapping* mapping) { delete mapping; }

void iommufd_mapping_leave(iommufd_mapping* mapping) {
    if (mapping) std::move(mapping->mapping).leave();
    delete mapping;
}

uint64_t iommufd_mapping_iova(const iommufd_mapping* mapping) {
    return mapping ? mapping->mapping.iova().value : 0;
}

uint64_t iommufd_mapping_length(const iommufd_mapping* mapping) {
    return mapping ? mapping->mapping.range().length() : 0;
}

int iommufd_mapping_state(const iommufd_mapping* mapping) {
    return call([&]() -> Result<int> {
        if (!mapping) return is_null("the mapping");
        return static_cast<int>(mapping->mapping.state());
    });
}

int iommufd_mapping_remap(iommufd_mapping* mapping) {
    return call([&]() -> Result<void> {
        if (!mapping) return is_null("the mapping");
        return mapping->mapping.remap();
    });
}

int iommufd_space_limits(const iommufd_space* space, iommufd_range* ranges, size_t count,
                         uint64_t* alignment) {
    return call([&]() -> Result<int> {
        if (!space || (!ranges && count != 0)) return is_null("space and ranges");
        const dma::Limits limits = space->space.limits();
        for (std::size_t i = 0; i < std::min(count, limits.ranges.size()); ++i)
            ranges[i] = {limits.ranges[i].first.value, limits.ranges[i].last.value};
        if (alignment) *alignment = limits.alignment;
        return capi::count_of(limits.ranges.size());
    });
}

int iommufd_space_mappings(const iommufd_space* space, iommufd_mapped* mapped, size_t count) {
    return call([&]() -> Result<int> {
        if (!space || (!mapped && count != 0)) return is_null("space and mapped");
        const auto mappings = space->space.mappings();
        for (std::size_t i = 0; i < std::min(count, mappings.size()); ++i)
            mapped[i] = capi::as_c(mappings[i]);
        return capi::count_of(mappings.size());
    });
}

int iommufd_space_ioas(const iommufd_space* space, uint32_t* ioas) {
    return call([&]() -> Result<void> {
        if (!space || !ioas) return is_null("space and ioas");
        const auto id = space->space.ioas();
        if (!id)
            return capi::refused(ENOENT, "there is no ioas", "no VFIO device is attached to the space",
                                 "attach one first");
        *ioas = id->value;
        return {};
    });
}

int iommufd_space_not_released(const iommufd_space* space, char* text, size_t length) {
    return call([&]() -> Result<int> {
        if (!space) return is_null("the space");
        std::string lines;
        for (const NotReleased& left : space->space.not_released())
            lines +=
                left.object + ": " + std::string(name(left.operation)) + ": " + errno_name(left.code) + "\n";
        return capi::write_text(lines, text, length);
    });
}

int iommufd_space_retry_releases(const iommufd_space* space) {
    return call([&]() -> Result<int> {
        if (!space) return is_null("the space");
        return capi::count_of(space->space.retry_releases());
    });
}

int iommufd_space_get_counters(const iommufd_space* space, iommufd_counters* counters) {
    return call([&]() -> Result<void> {
        if (!space) return is_null("the space");
        const dma::Space::Counters now = space->space.counters();
        return capi::answer(counters, {.size = 0,
                                       .mapped = now.mapped,
                                       .pinned = now.pinned,
                                       .mapped_by_file = now.mapped_by_file,
                                       .mapped_by_address = now.mapped_by_address,
                                       .mapped_by_copy = now.mapped_by_copy,
                                       .unmapped = now.unmapped});
    });
}
