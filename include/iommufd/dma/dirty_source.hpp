// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Something that can tell which pages a device has written: a device's own log (VFIO), or the bits of an
// IOMMU's page table.
#pragma once

#include <cstdint>
#include <span>

#include "iommufd/core/types.hpp"
#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::dma {

class DirtySource {
public:
    DirtySource() = default;
    DirtySource(const DirtySource&) = delete;
    DirtySource& operator=(const DirtySource&) = delete;
    virtual ~DirtySource() = default;

    // Starts with everything clean; `page_size` in bytes is a wish.
    virtual Result<void> start_dirty(std::span<const Range> ranges, std::uint64_t page_size) = 0;
    virtual Result<void> stop_dirty() = 0;
    // Sets the bit of each page written since the last call; bit 0 is the page at range.first.
    virtual Result<void> read_dirty(Range range, std::uint64_t page_size,
                                    std::span<std::uint64_t> bitmap) = 0;
};

}  // namespace iommufd::inline v0_1::dma
