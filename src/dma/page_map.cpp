// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/page_map.hpp"

#include <utility>

namespace iommufd::inline v0_1::dma {
namespace {

using Entry = PageRadix::Entry;
using Table = PageRadix::Table;

bool is_table(Entry entry) noexcept { return (entry & PageRadix::kTable) != 0; }
Table& table_of(Entry entry) noexcept { return *reinterpret_cast<Table*>(entry - PageRadix::kTable); }
Entry entry_of(Table& table) noexcept { return reinterpret_cast<Entry>(&table) + PageRadix::kTable; }

// Whether a block of 2^shift bytes starts at the address and ends within the range.
bool fits(std::uint64_t address, unsigned shift, Range range) noexcept {
    const std::uint64_t rest = (std::uint64_t{1} << shift) - 1;
    return (address & rest) == 0 && range.last.value - address >= rest;
}

}  // namespace

// Never written to, so it takes no memory.
PageRadix::Root PageRadix::nothing;

PageRadix::Found PageRadix::find_far(std::uint64_t address) const noexcept {
    return in_root<48>(roots_[2], address);
}

PageRadix::Leaf PageRadix::leaf_far(std::uint64_t address) const noexcept {
    if (address >> 48 == 0)
        return leaf_at<30>(roots_[1].load(std::memory_order_acquire)->entries[address >> 30], address);
    return leaf_at<48>(roots_[2].load(std::memory_order_acquire)->entries[address >> 48], address);
}

PageRadix::Table* PageMap::join(Table* chain, Table* other) noexcept {
    while (other) {
        Table* const next = other->next;
        other->next = std::exchange(chain, other);
        other = next;
    }
    return chain;
}

// For the zones that the range lies in.
void PageMap::make_roots(Range range) {
    for (unsigned zone = zone_of(range.first.value); zone <= zone_of(range.last.value); ++zone)
        if (roots_[zone].load(std::memory_order_relaxed) == &nothing)
            roots_[zone].store(pool_.take_root(), std::memory_order_release);
}

// To the root or table that has a leaf or a hole for the address.
PageMap::Path PageMap::descend(std::uint64_t address) const noexcept {
    constexpr unsigned kShifts[kZones] = {21, 30, 48};
    const unsigned zone = zone_of(address);
    Path path;
    path.root = roots_[zone].load(std::memory_order_relaxed);
    path.shift = kShifts[zone];
    for (;;) {
        const Entry entry = path.slot(address).load(std::memory_order_relaxed);
        if (!is_table(entry)) return path;
        path.down(table_of(entry));
    }
}

void PageMap::insert(Range range, std::uint64_t difference) {
    const Entry leaf = (difference & kDifference) | kTaken;
    std::uint64_t address = range.first.value;
    make_roots(range);
    try {
        for (;;) {
            Path path = descend(address);
            while (!fits(address, path.shift, range)) {
                Table& table = *pool_.take();
                path.slot(address).store(entry_of(table), std::memory_order_release);
                path.count(1);
                path.down(table);
            }
            // As many as this table takes.
            do {
                path.slot(address).store(leaf, std::memory_order_release);
                path.count(1);
                const std::uint64_t last = path.last_of(address);
                if (last == range.last.value) return;
                address = last + 1;
            } while (path.index(address) != 0 && fits(address, path.shift, range) &&
                     path.slot(address).load(std::memory_order_relaxed) == kHole);
        }
    } catch (...) {
        // A table for the entry that didn't come to be, and what was inserted before.
        tidy();
        prune(descend(address), address);
        if (address != range.first.value) erase({range.first, Iova{address - 1}});
        throw;
    }
}

// Every leaf of the range; those of one table in a row.
template <class Change>
void PageMap::each_leaf(Range range, Change&& change) noexcept {
    std::uint64_t address = range.first.value;
    for (bool done = false; !done;) {
        const Path path = descend(address);
        const std::uint64_t start = address;
        do {
            auto& entry = path.slot(address);
            const Entry value = entry.load(std::memory_order_relaxed);
            if (is_table(value)) break;  // deeper
            if (value != kHole) change(path, entry, value);
            const std::uint64_t last = path.last_of(address);
            done = last >= range.last.value;
            address = last + 1;
        } while (!done && path.index(address) != 0);
        linger(path, start);
    }
}

void PageMap::show(Range range, unsigned rights) noexcept {
    const Entry bits = kTaken | Entry{rights} << 1;
    each_leaf(range, [&](const Path&, std::atomic<Entry>& entry, Entry value) {
        entry.store((value & kDifference) | bits, std::memory_order_release);
    });
}

void PageMap::mark_writes(Range range, bool on) noexcept {
    constexpr Entry kWrite = Entry{static_cast<unsigned>(Access::write)} << 1;
    const Entry from = on ? kWrite : kMarks;
    each_leaf(range, [&](const Path&, std::atomic<Entry>& entry, Entry value) {
        if ((value & from) != 0) entry.store(value ^ (kWrite | kMarks), std::memory_order_release);
    });
}

void PageMap::erase(Range range) noexcept {
    each_leaf(range, [](const Path& path, std::atomic<Entry>& entry, Entry) {
        entry.store(kHole, std::memory_order_release);
        path.count(-1);
    });
}

void PageMap::cut(std::uint64_t address) {
    for (;;) {
        const Found found = find(address);
        if (found.entry == kHole || (address & found.rest) == 0) return;
        Table& table = *pool_.take();
        for (auto& entry : table.entries) entry.store(found.entry, std::memory_order_relaxed);
        table.used = kEntries;
        descend(address).slot(address).store(entry_of(table), std::memory_order_release);
    }
}

// Lets the lowest table stay if it has become empty, and the one before go.
void PageMap::linger(const Path& path, std::uint64_t address) noexcept {
    if (path.depth == 0 || path.tables[path.depth - 1]->used != 0) return;
    if (lingering_ == path.tables[path.depth - 1]) return;
    if (!lingering_) {
        lingering_ = path.tables[path.depth - 1];
        lingers_for_ = address;
        return;
    }
    tidy();
    // It may have been above the other one, and gone with it.
    if (const Path now = descend(address); now.depth > 0) linger(now, address);
}

void PageMap::tidy() noexcept {
    if (std::exchange(lingering_, nullptr)) prune(descend(lingers_for_), lingers_for_);
}

// Unlinks the lowest table, if it is empty, and those above that become so.
void PageMap::prune(Path path, std::uint64_t address) noexcept {
    while (path.depth > 0 && path.tables[path.depth - 1]->used == 0) {
        Table& empty = *path.tables[--path.depth];
        path.shift += kTableBits;
        path.slot(address).store(kHole, std::memory_order_release);
        path.count(-1);
        empty.next = std::exchange(unlinked_, &empty);
    }
}

}  // namespace iommufd::inline v0_1::dma
