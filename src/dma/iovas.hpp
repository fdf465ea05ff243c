// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which IOVAs may be used, and the choice of a free one.
#pragma once

#include <optional>
#include <vector>

#include "dma/intervals.hpp"

namespace iommufd::inline v0_1::dma {

// What one sink or device allows, and its name for the refusal of what it doesn't.
struct Bound {
    std::string who;  // "vfio-pci 0000:02:00.0"
    std::vector<Range> ranges;
    std::uint64_t alignment = 1;
};

// All addresses that `bits` address lines can carry.
std::vector<Range> addressable(unsigned bits);

// What every bound allows: ascending, disjoint.
std::vector<Range> common_ranges(std::span<const Bound> bounds);

// EINVAL, naming the bound that is broken, if the interval is outside one, or not aligned to it in each of its pieces.
Result<void> check_bounds(std::span<const Bound> bounds, const Interval& interval);

// The lowest free range of `length` bytes that every bound allows, never at 0, aligned to `alignment`, and
// congruent to `address` modulo the largest page that fits, so that the IOMMU can use it.
std::optional<Iova> choose_iova(const Intervals& intervals, std::span<const Range> allowed,
                                std::uint64_t length, std::uint64_t address, std::uint64_t alignment);

}  // namespace iommufd::inline v0_1::dma
