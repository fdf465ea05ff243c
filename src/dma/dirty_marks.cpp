// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/dirty_marks.hpp"

#include <algorithm>
#include <memory>

#include "iommufd/dma/reader.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// Where the words would be if all addresses had one, each after the other.
std::uint64_t place_of(std::uint64_t address) noexcept { return address / DirtyMarks::kWord * 8; }

// Of the pages of a word that lie in the range.
std::uint64_t mask_of(std::uint64_t word, Range range) noexcept {
    const std::uint64_t first = range.first.value > word ? (range.first.value - word) / DirtyMarks::kPage : 0;
    const std::uint64_t last = std::min((range.last.value - word) / DirtyMarks::kPage, std::uint64_t{63});
    return ~std::uint64_t{0} << first & ~std::uint64_t{0} >> (63 - last);
}

}  // namespace

// visit(word, the first address of its pages): of those that have room.
template <class Visit>
void DirtyMarks::each_word(const PageRadix& where, Range range, Visit&& visit) noexcept {
    const std::uint64_t last = place_of(range.last.value);
    for (std::uint64_t place = place_of(range.first.value);;) {
        const PageRadix::Found found = where.find(place);
        const std::uint64_t end = std::min(found.last_of(place), last + 7);
        if ((found.entry & PageRadix::kRights) != 0)
            for (; place <= end; place += 8)
                visit(*reinterpret_cast<Word*>(place + (found.entry & PageRadix::kDifference)),
                      place / 8 * kWord);
        if (end >= last) return;
        place = end + 1;
    }
}

void DirtyMarks::mark(const PageRadix& where, Range range) noexcept {
    each_word(where, range, [&](Word& word, std::uint64_t address) {
        const std::uint64_t mask = mask_of(address, range);
        // Most are marked already, and to look costs less than to change.
        if ((word.load(std::memory_order_relaxed) & mask) != mask)
            word.fetch_or(mask, std::memory_order_relaxed);
    });
}

void DirtyMarks::add(Iova first, std::span<const std::uint64_t> bitmap) const noexcept {
    const auto shift = first.value / kPage % 64;
    const auto or_into = [&](std::uint64_t address, std::uint64_t bits) {
        if (bits == 0) return;
        each_word(map_, {Iova{address}, Iova{address}},
                  [&](Word& word, std::uint64_t) { word.fetch_or(bits); });
    };
    std::uint64_t address = first.value / kWord * kWord;
    for (const std::uint64_t bits : bitmap) {
        or_into(address, bits << shift);
        if (shift != 0) or_into(address + kWord, bits >> (64 - shift));
        address += kWord;
    }
}

bool DirtyMarks::take(Range range, std::span<std::uint64_t> bitmap) const noexcept {
    const std::uint64_t base = range.first.value / kWord * kWord;
    bool any = false;
    each_word(map_, range, [&](Word& word, std::uint64_t address) {
        if (word.load(std::memory_order_relaxed) == 0) return;
        const std::uint64_t mask = mask_of(address, range);
        const std::uint64_t taken = word.fetch_and(~mask) & mask;
        bitmap[(address - base) / kWord] |= taken;
        any = any || taken != 0;
    });
    return any;
}

void DirtyMarks::add_area(std::uint64_t first_block, std::uint64_t blocks) {
    const std::uint64_t bytes = blocks * kPage;
    std::unique_ptr<Word, Release> words(static_cast<Word*>(::operator new(bytes, std::align_val_t{kPage})));
    std::uninitialized_value_construct_n(words.get(), bytes / sizeof(Word));
    const auto address = reinterpret_cast<std::uintptr_t>(words.get());
    const auto added = areas_.emplace(first_block, Area{.blocks = blocks, .words = std::move(words)}).first;
    const Range places{Iova{first_block * kPage}, Iova{first_block * kPage + (bytes - 1)}};
    try {
        map_.insert(places, address - places.first.value);
    } catch (...) {
        areas_.erase(added);
        throw;
    }
    map_.show(places, static_cast<unsigned>(Access::read_write));
}

void DirtyMarks::cover(Range range) {
    const std::uint64_t last = range.last.value / kBlock;
    for (std::uint64_t block = range.first.value / kBlock; block <= last;) {
        const auto next = areas_.upper_bound(block);
        if (next != areas_.begin())
            if (const auto& [first, area] = *std::prev(next); first + area.blocks > block) {
                block = first + area.blocks;
                continue;
            }
        const std::uint64_t end = next == areas_.end() ? last + 1 : std::min(last + 1, next->first);
        add_area(block, end - block);
        block = end;
    }
}

void DirtyMarks::clear() noexcept {
    for (const auto& [first, area] : areas_)
        map_.erase({Iova{first * kPage}, Iova{(first + area.blocks) * kPage - 1}});
    map_.tidy();
    pool_.give_back(map_.take_unlinked());
    areas_.clear();
}

std::optional<Range> DirtyMarks::covered(Iova from) const noexcept {
    const std::uint64_t block = from.value / kBlock;
    auto area = areas_.upper_bound(block);
    if (area != areas_.begin() && std::prev(area)->first + std::prev(area)->second.blocks > block) --area;
    if (area == areas_.end()) return std::nullopt;
    return Range{Iova{area->first * kBlock}, Iova{(area->first + area->second.blocks) * kBlock - 1}};
}

// While writes are marked, a leaf has kMarks in place of the right to write: so those who read, and all while nothing is
// marked, come here for a hole only.
std::span<std::byte> Guard::translate_and_mark(Iova iova, std::uint64_t length, PageRadix::Entry wanted,
                                               PageRadix::Found found) const noexcept {
    if (!PageRadix::allows(found.entry, wanted)) return {};
    const PageRadix::Entry difference = found.entry & PageRadix::kDifference;
    const std::uint64_t here = found.last_of(iova.value) - iova.value + 1;
    if (length > here) length = extend(iova, here, length, difference, wanted);
    if (length != 0) DirtyMarks::mark(slot_->marks, {iova, iova + (length - 1)});
    return {reinterpret_cast<std::byte*>(iova.value + difference), length};
}

}  // namespace iommufd::inline v0_1::dma
