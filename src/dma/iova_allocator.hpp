// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which IOVAs of a Space are free, and the choice of some.
//
//     alloc()       the lowest range that fits
//     take()        this one
//     give_back()   either, or a part of it
//     allow()       where alloc() looks: what all sinks and devices reach, which changes as they come and go
//
// All 2^64 addresses are kept, allowed or not: so what is taken stays taken when what is allowed narrows, and nothing has to be
// worked out again when it widens.
//
// Lowest first, because it keeps what is used together: the holes between live ranges are filled again before new addresses are
// touched, however long it goes on. Small ranges that were given back just now go out again first, before they are put
// together with their neighbours: a few of each size, which are put together as soon as they are in anybody's way.
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
        std::uint64_t guard = 0;       // so many bytes before and after are free too
        Iova last{~std::uint64_t{0}};  // nothing beyond
    };

    // Everything is free, nothing allowed. Throws bad_alloc.
    IovaAllocator();

    // Room to give back `taken` ranges, all that are taken. Throws bad_alloc, and then nothing has changed.
    void reserve(std::size_t taken) { free_.reserve(taken + kSizes * kRecent + 1); }
    void allow(std::vector<Range> ranges) noexcept { allowed_ = std::move(ranges); }

    // A range that was free and allowed, and doesn't begin at 0: one of that size given back just now, else the lowest. (If
    // more than kMisfits holes before it are large enough but for their alignment, perhaps not quite the lowest.)
    std::optional<Range> alloc(const Wanted& wanted) noexcept;
    // False, and nothing has changed: not all of it is free.
    bool take(Range range) noexcept;
    void give_back(Range range) noexcept;
    bool is_taken(Range range) const noexcept;
    // Puts together what was given back just now.
    void settle() noexcept;

    static constexpr unsigned kMisfits = 32;

    const FreeRanges& free_ranges() const noexcept { return free_; }

private:
    static constexpr unsigned kSizes = 6;  // powers of two, from 4 KiB on
    static constexpr unsigned kRecent = 32;
    struct Recent {
        unsigned count = 0;
        Iova iovas[kRecent];  // the youngest last
    };

    Recent* recent(std::uint64_t length) noexcept;
    std::optional<Range> again(const Wanted& wanted) noexcept;
    std::optional<Range> choose(const Wanted& wanted) const noexcept;
    std::optional<Range> first_fit(const Wanted& wanted, std::uint64_t modulus) const noexcept;
    std::optional<Range> first_fit(const Wanted& wanted, std::uint64_t modulus, Range within, bool try_all,
                                   bool& left_out) const noexcept;

    Recent recent_[kSizes];
    FreeRanges free_;
    std::vector<Range> allowed_;  // ascending, disjoint
};

}  // namespace iommufd::inline v0_1::dma
