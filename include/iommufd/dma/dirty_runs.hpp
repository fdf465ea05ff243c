// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The set bits of a bitmap as runs: which pages are dirty, as who copies them wants to know it.
//
//     DirtyRuns runs(bitmap, 0, pages);                       a bit for each page
//     while (const auto some = runs.next(); !some.empty())    in ascending order, apart from each other
//         for (const BitRun& run : some) copy(run.first, run.end);
//
// It goes through a clean bitmap as fast as memory can be read, and looks at the ends of runs only: a bitmap that is all ones
// costs no more than one that is all zeros. AVX-512 or AVX2 are used where the CPU has them; what comes out is the same.
//
// Threads: one at a time. The bitmap belongs to the caller and must stay as it is until the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

// The bits [first, end): all set, and the two beside them clear, or beyond what was asked for.
struct BitRun {
    std::uint64_t first;
    std::uint64_t end;

    constexpr bool operator==(const BitRun&) const = default;
};

class IOMMUFD_EXPORT DirtyRuns {
public:
    // Of the bits [first, end): bit i is bit i % 64 of word i / 64. Beyond the words there is nothing.
    DirtyRuns(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end) noexcept;
    explicit DirtyRuns(std::span<const std::uint64_t> bitmap) noexcept
        : DirtyRuns(bitmap, 0, std::uint64_t{bitmap.size()} * 64) {}

    // The next ones, valid until the next call; none: that was all.
    std::span<const BitRun> next() noexcept;

    // For tests: what the CPU may have.
    enum class Simd : std::uint8_t { portable, avx2, avx512 };
    static Simd best() noexcept;
    DirtyRuns(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end,
              Simd simd) noexcept;

private:
    // Where runs begin and end, by turns. They are looked for in so many words at a time, each of which has 64 at most.
    static constexpr std::size_t kWords = 32;
    static constexpr std::size_t kEnough = 1024;
    static constexpr std::size_t kSlack = kWords * 64 + 8;

    void find_edges() noexcept;
    void scan_word(std::uint64_t mask) noexcept;

    const std::uint64_t* words_;
    std::uint64_t first_;  // bits
    std::uint64_t end_;
    std::uint64_t next_;  // words
    std::uint64_t last_;
    std::uint64_t carry_ = 0;  // the bit before that of `next_`
    const Simd simd_;
    std::size_t count_ = 0;  // edges
    std::size_t given_ = 0;
    std::uint64_t edges_[kEnough + kSlack];
};

}  // namespace iommufd::inline v0_1::dma
