// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which IOVAs of a Space are free, and the choice of some.
//
//     take(), give_back()   what is mapped, reserved, or with a cache
//     allow()               where choose() looks: what all sinks and devices reach, which changes as they come and go
//     choose()              the lowest that fits; take() makes it yours
//
// All 2^64 addresses are kept, allowed or not: so what is taken stays taken when what is allowed narrows, and nothing has to be
// worked out again when it widens.
//
// Lowest first, because it keeps what is used together: the holes between live ranges are filled again before new addresses are
// touched, however long it goes on.
//
// Not thread-safe: the Space's mutex guards it.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "dma/free_ranges.hpp"

namespace iommufd::inline v0_1::dma {

class IovaAllocator {
public:
    struct Wanted {
        std::uint64_t length;         // in bytes
        std::uint64_t alignment = 1;  // a power of two
        // The IOVA is congruent to it modulo the alignment, and, where that can be had, modulo the largest I/O page
        // (1 GiB, 2 MiB) that fits into the length: so that the IOMMU can use it.
        std::uint64_t address = 0;
        std::uint64_t guard = 0;             // so many bytes before and after are free too
        Iova last{~std::uint64_t{0}};  // nothing beyond
    };

    // Everything is free, nothing allowed. Throws bad_alloc.
    IovaAllocator();

    // Room to give back `taken` ranges, all that are taken. Throws bad_alloc, and then nothing has changed.
    void reserve(std::size_t taken) { free_.reserve(taken + 1); }
    void allow(std::vector<Range> ranges) noexcept { allowed_ = std::move(ranges); }

    // The lowest range that is free and allowed, and doesn't begin at 0. If more than kMisfits holes before it are large
    // enough but for their alignment, perhaps not quite the lowest.
    std::optional<Range> choose(const Wanted& wanted) const noexcept;
    // False, and nothing has changed: not all of it is free.
    bool take(Range range) noexcept { return free_.remove(range); }
    void give_back(Range range) noexcept { free_.add(range); }
    bool is_taken(Range range) const noexcept { return !free_.overlaps(range); }

    static constexpr unsigned kMisfits = 32;

    const FreeRanges& free_ranges() const noexcept { return free_; }

private:
    std::optional<Range> first_fit(const Wanted& wanted, std::uint64_t modulus) const noexcept;
    std::optional<Range> first_fit(const Wanted& wanted, std::uint64_t modulus, Range within,
                                   bool try_all, bool& left_out) const noexcept;

    FreeRanges free_;
    std::vector<Range> allowed_;  // ascending, disjoint
};

}  // namespace iommufd::inline v0_1::dma
