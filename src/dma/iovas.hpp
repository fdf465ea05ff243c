// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which IOVAs may be used.
#pragma once

#include <vector>

#include "dma/intervals.hpp"
#include "iommufd/dma/attachable.hpp"

namespace iommufd::inline v0_1::dma {

// What one sink or device allows, and its name for the refusal of what it doesn't.
struct Bound {
    std::string who;  // "vfio-pci 0000:02:00.0"
    std::vector<Range> ranges;
    std::uint64_t alignment = 1;
};

// The multiple of a power of two at or above it; near 2^64, the one below.
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t alignment) {
    const std::uint64_t up = value + (alignment - 1);
    return (up < value ? value : up) & ~(alignment - 1);
}

inline constexpr Range kEverything{Iova{0}, Iova{~std::uint64_t{0}}};

Bound bound_of(const Attachable& device);  // by its address lines
Bound bound_of(const Sink& sink, Limits&& limits);

// All addresses that `bits` address lines can carry.
std::vector<Range> addressable(unsigned bits);

// What every bound allows: ascending, disjoint.
std::vector<Range> common_ranges(std::span<const Bound> bounds);

// EINVAL, naming the bound that is broken, if the interval is outside one, or not aligned to it in each of its pieces.
Result<void> check_bounds(std::span<const Bound> bounds, const Interval& interval);

}  // namespace iommufd::inline v0_1::dma
