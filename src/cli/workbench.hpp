// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "drivers/window.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/object/registry.hpp"

namespace iommufd::inline v0_1::cli {

// The mapped memory of one space, divided among those who work in it:
//
//     | area 0 | area 1 | ... |            windows of the drivers |
//
// Each device is given the next area to fill from the one before, so that bytes travel through all devices.
class Workbench {
public:
    static constexpr std::uint64_t kAreaSize = 64_KiB;

    // The largest writable dma-mapping of the space. ENOENT: it has none that is large enough.
    static Result<Workbench> in(const object::Registry& registry, const std::string& space);

    const dma::Space& space() const noexcept { return *space_; }
    const dma::Mapping& mapping() const noexcept { return *mapping_; }

    drivers::Window area(unsigned number) const noexcept;
    // Whole pages, for a driver's own use. ENOSPC.
    Result<drivers::Window> take_window(std::uint64_t size);

private:
    Workbench(const dma::Space& space, const dma::Mapping& mapping) noexcept;
    drivers::Window part(std::uint64_t offset, std::uint64_t size) const noexcept;

    const dma::Space* space_;
    const dma::Mapping* mapping_;
    const std::byte* memory_;
    std::uint64_t size_;
    std::uint64_t windows_from_;  // what lies above is taken
};

}  // namespace iommufd::inline v0_1::cli
