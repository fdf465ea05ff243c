// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Fields of hardware words, by their highest and lowest bit, as the manuals write them.
#pragma once

#include <cstdint>

namespace iommufd::inline v0_1::viommu {

constexpr std::uint64_t mask(unsigned high, unsigned low) {
    return (~std::uint64_t{0} >> (63 - high + low)) << low;
}
constexpr std::uint64_t field(std::uint64_t word, unsigned high, unsigned low) {
    return (word & mask(high, low)) >> low;
}
constexpr bool bit(std::uint64_t word, unsigned number) { return (word >> number & 1U) != 0; }

}  // namespace iommufd::inline v0_1::viommu
