// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/workbench.hpp"

#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLeast = 1_MiB;

}  // namespace

Result<Workbench> Workbench::in(const object::Registry& registry, const std::string& space) {
    const auto found = registry.get<dma::Space>(space);
    if (!found) return found.error();
    const dma::Mapping* best = nullptr;
    for (const object::ObjectInfo& info : registry.list()) {
        const std::string* const of = info.definition.find("space");
        if (info.definition.type != "dma-mapping" || !of || *of != space) continue;
        const auto mapping = registry.get<dma::Mapping>(info.definition.id);
        if (mapping && !(*mapping)->memory().is_read_only() &&
            (!best || (*mapping)->range().length() > best->range().length()))
            best = *mapping;
    }
    if (!best || best->range().length() < kLeast)
        return Error::refused(
            ENOENT, compose("cannot test devices in '", space, "'"),
            compose("it has no writable dma-mapping of at least ", size_text(kLeast)),
            compose("add -object memory-backend-memfd,id=ram,size=64M -object dma-mapping,id=map0,space=",
                    space, ",memdev=ram,iova=0x4000000"));
    return Workbench(**found, *best);
}

Workbench::Workbench(const dma::Space& space, const dma::Mapping& mapping) noexcept
    : space_(&space),
      mapping_(&mapping),
      memory_(nullptr),
      size_(mapping.range().length()),
      windows_from_(size_) {
    for (const dma::MappingInfo& info : space.mappings())
        if (info.range == mapping.range()) memory_ = mapping.memory().data() + info.offset;
}

drivers::Window Workbench::part(std::uint64_t offset, std::uint64_t size) const noexcept {
    return {
        .memory = const_cast<std::byte*>(memory_) + offset, .iova = mapping_->iova() + offset, .size = size};
}

drivers::Window Workbench::area(unsigned number) const noexcept {
    // Devices beyond the room there is come round to the first areas again.
    const std::uint64_t areas = (size_ / 2) / kAreaSize;
    return part(number % areas * kAreaSize, kAreaSize);
}

Result<drivers::Window> Workbench::take_window(std::uint64_t size) {
    const std::uint64_t pages = (size + kPage - 1) / kPage * kPage;
    if (pages > windows_from_ || windows_from_ - pages < size_ / 2)
        return Error::refused(ENOSPC, "cannot give a driver its memory",
                              "the mapping is too small for so many devices", "map more memory");
    windows_from_ -= pages;
    return part(windows_from_, pages);
}

}  // namespace iommufd::inline v0_1::cli
