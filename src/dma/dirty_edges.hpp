// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Where runs of set bits begin and end: the bits of a word that differ from the one before. In two phases, so that no branch
// depends on the bits: the words that have edges are collected first, then each gives its edges, several at a time.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace iommufd::inline v0_1::dma {

struct EdgeScan {
    const std::uint64_t* next;  // the word before it may be read too
    const std::uint64_t* end;
    std::uint64_t base;  // the bit that `next` begins with
    std::uint64_t* out;  // has room for the edges of a block beyond `enough`, and for 8 more
    const std::uint64_t* enough;

    // How many words are looked at before `enough` is.
    static constexpr std::size_t kBlock = 32;
};

[[gnu::always_inline]] inline std::uint64_t edges_of(std::uint64_t word, std::uint64_t before) noexcept {
    return word ^ (word << 1 | before >> 63);
}

// From words beside each other, those that have edges.
struct EdgeWords {
    std::uint64_t edges[EdgeScan::kBlock + 8];
    std::uint64_t bases[EdgeScan::kBlock + 8];
    std::size_t count;

    [[gnu::always_inline]] void clear() noexcept { count = 0; }
    [[gnu::always_inline]] void add(std::uint64_t word, std::uint64_t base) noexcept {
        edges[count] = word;
        bases[count] = base;
        count += word != 0;
    }
};

// Both stop behind the block that made it enough, or before one that is cut short by the end.
void scan_portable(EdgeScan& scan) noexcept;
#if defined(__x86_64__)
void scan_avx2(EdgeScan& scan) noexcept;
void scan_avx512(EdgeScan& scan) noexcept;
#endif

}  // namespace iommufd::inline v0_1::dma
