// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which pages are dirty and were not told yet, by IOVA: what readers have written to, and what page tables and logs of devices
// said. A bit for each page of all that was mapped while this went on, in words that a radix tree leads to:
//
//     IOVA / 2^18 * 8 --PageMap--> the word that has its page's bit, and those of the 63 beside it
//
// Threads: any number may mark, add and take. One covers or clears at a time, and clears when nobody else is there.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>

#include "dma/page_map.hpp"

namespace iommufd::inline v0_1::dma {

class DirtyMarks {
public:
    static constexpr std::uint64_t kPage = std::uint64_t{1} << PageRadix::kPageBits;
    // IOVAs of one word, and of one page of words.
    static constexpr std::uint64_t kWord = kPage * 64;
    static constexpr std::uint64_t kBlock = kPage * kPage * 8;

    explicit DirtyMarks(TablePool& pool) noexcept : pool_(pool), map_(pool) {}

    // Makes room for a range. Throws bad_alloc, and then some of it may have room.
    void cover(Range range);
    // Gives all room back.
    void clear() noexcept;
    bool empty() const noexcept { return areas_.empty(); }
    // The first stretch with room that ends at or after an address.
    std::optional<Range> covered(Iova from) const noexcept;

    const PageRadix& where() const noexcept { return map_; }

    // Of pages without room, nothing is kept.
    static void mark(const PageRadix& where, Range range) noexcept;
    void mark(Range range) const noexcept { mark(map_, range); }
    // Bit 0 is the page at `first`.
    void add(Iova first, std::span<const std::uint64_t> bitmap) const noexcept;
    // Moves the marks of whole pages into a bitmap, of which bit 0 is the page at range.first / kWord * kWord. Whether there
    // were any.
    bool take(Range range, std::span<std::uint64_t> bitmap) const noexcept;

private:
    using Word = std::atomic<std::uint64_t>;
    static_assert(sizeof(Word) == 8 && Word::is_always_lock_free);
    struct Release {
        void operator()(Word* words) const noexcept { ::operator delete(words, std::align_val_t{kPage}); }
    };
    struct Area {
        std::uint64_t blocks;
        std::unique_ptr<Word, Release> words;
    };

    template <class Visit>
    static void each_word(const PageRadix& where, Range range, Visit&& visit) noexcept;
    void add_area(std::uint64_t first_block, std::uint64_t blocks);

    TablePool& pool_;
    PageMap map_;
    std::map<std::uint64_t, Area> areas_;  // by the number of the first block
};

}  // namespace iommufd::inline v0_1::dma
