// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/domain.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "model/domain_table.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::size_t kMostSpares = 256;

// How many levels above the lowest one a table needs that translates up to `last`.
int root_level_of(const Geometry& geometry) {
    const auto bits =
        std::max(static_cast<unsigned>(std::bit_width(geometry.last)), geometry.granule_bits + 1);
    return static_cast<int>((bits - geometry.granule_bits - 1) / kIndexBits);
}

}  // namespace

Domain::Domain(const Geometry& geometry, bool tracks_dirty)
    : geometry_(geometry),
      tracks_dirty_(tracks_dirty),
      root_level_(root_level_of(geometry)),
      root_(std::make_unique<Table>()) {}

Domain::~Domain() {
    const sys::OwnedLock lock(mutex_);
    while (spare_ != nullptr) delete take_table();
}

int Domain::map(std::uint64_t iova, std::uint64_t length, physical::Address memory, unsigned permissions,
                std::uint64_t largest_leaf) {
    const sys::OwnedLock lock(mutex_);
    try {
        map_leaves(iova, iova + length - 1, memory, permissions | kLeaf, largest_leaf);
        return 0;
    } catch (const std::bad_alloc&) {
        unmap_level(*root_, root_level_, iova, iova + length - 1);
        return -ENOMEM;
    }
}

unsigned Domain::best_leaf(std::uint64_t iova, std::uint64_t last, physical::Address memory,
                           std::uint64_t largest) const noexcept {
    const std::uint64_t limit = std::min(std::bit_floor(last - iova + 1), largest);
    const int most = std::countr_zero(iova | memory | limit);
    const std::uint64_t sizes = geometry_.page_sizes & ((std::uint64_t{2} << most) - 1);
    return static_cast<unsigned>(std::bit_width(sizes)) - 1;
}

// How far leaves of that size go on before a larger one may be better.
std::uint64_t Domain::length_of_leaves(unsigned bits, std::uint64_t iova, std::uint64_t last,
                                       physical::Address memory, std::uint64_t largest) const noexcept {
    const std::uint64_t whole = (last - iova + 1) >> bits << bits;
    const std::uint64_t larger_sizes = geometry_.page_sizes >> bits >> 1 << bits << 1;
    if (larger_sizes == 0) return whole;
    const std::uint64_t larger = larger_sizes & -larger_sizes;
    if (larger > largest || ((iova ^ memory) & (larger - 1)) != 0) return whole;
    const std::uint64_t until_larger = -iova & (larger - 1);
    return until_larger == 0 ? whole : std::min(whole, until_larger);
}

Domain::Table* Domain::take_table() {
    if (spare_ == nullptr) return new Table;
    --spare_count_;
    Table* const taken = spare_;
    spare_ = reinterpret_cast<Table*>(std::exchange(taken->entries.front(), 0));
    return taken;
}

void Domain::clear(std::uint64_t& entry) noexcept {
    const std::uint64_t old = std::exchange(entry, 0);
    if ((old & kTable) == 0) return;
    Table* const table = Table::next(old);
    for (std::uint64_t& each : table->entries) clear(each);
    if (spare_count_ == kMostSpares) {
        delete table;
        return;
    }
    table->entries.front() = reinterpret_cast<std::uint64_t>(std::exchange(spare_, table));
    ++spare_count_;
}

Domain::Table& Domain::table_at(std::uint64_t iova, int level) {
    Table* table = root_.get();
    for (int at = root_level_; at > level; --at) {
        std::uint64_t& entry = entry_of(*table, iova, at);
        if (entry == 0) entry = reinterpret_cast<std::uint64_t>(take_table()) | kTable;
        table = Table::next(entry);
    }
    return *table;
}

void Domain::map_leaves(std::uint64_t iova, std::uint64_t last, physical::Address memory, std::uint64_t flags,
                        std::uint64_t largest) {
    Table* table = nullptr;
    int table_level = -1;
    std::uint64_t table_last = 0;
    while (true) {
        const unsigned bits = best_leaf(iova, last, memory, largest);
        const int level = static_cast<int>((bits - geometry_.granule_bits) / kIndexBits);
        if (level != table_level || iova > table_last) {
            table = &table_at(iova, level);
            table_level = level;
            table_last = iova | ((size_of(level) << kIndexBits) - 1);
        }
        const std::uint64_t length =
            std::min(length_of_leaves(bits, iova, last, memory, largest), table_last - iova + 1);
        const std::uint64_t step = size_of(level);
        std::uint64_t* const entries = &entry_of(*table, iova, level);
        const std::size_t count = length / step;
        for (std::size_t i = 0; level > 0 && i < count; ++i)
            clear(entries[i]);  // a table may be left, but nothing in it
        std::uint64_t what = memory | flags | std::uint64_t{bits} << kLeafBitsShift;
        for (std::size_t i = 0; i < count; ++i, what += step) entries[i] = what;
        if (iova + (length - 1) == last) return;
        memory += length;
        iova += length;
    }
}

void Domain::unmap(std::uint64_t iova, std::uint64_t length) noexcept {
    const sys::OwnedLock lock(mutex_);
    forget(iova, iova + (length - 1));
    ++flushes_;
    unmap_level(*root_, root_level_, iova, iova + length - 1);
}

std::uint64_t Domain::flushes() const {
    const sys::OwnedLock lock(mutex_);
    return flushes_;
}

void Domain::unmap_level(Table& table, int level, std::uint64_t iova, std::uint64_t last) noexcept {
    while (true) {
        const std::uint64_t end = std::min(last, last_of_entry(iova, level));
        std::uint64_t& entry = entry_of(table, iova, level);
        const bool whole = end - iova == size_of(level) - 1;
        if (whole || (entry & kLeaf) != 0) {
            clear(entry);
        } else if ((entry & kTable) != 0) {
            unmap_level(*Table::next(entry), level - 1, iova, end);
        }
        if (end == last) return;
        iova = end + 1;
    }
}

std::uint64_t* Domain::leaf_of(std::uint64_t iova, int& level) const {
    if (iova > geometry_.last) return nullptr;
    Table* table = root_.get();
    for (level = root_level_;; --level) {
        std::uint64_t& entry = entry_of(*table, iova, level);
        if ((entry & kTable) == 0) return &entry;
        table = Table::next(entry);
    }
}

Domain::Run Domain::look_up(std::uint64_t iova, unsigned permission) const {
    Recent leaf;
    if (const Recent* const recent = recent_of(iova, 1)) {
        leaf = *recent;
    } else {
        int level = 0;
        const std::uint64_t* const entry = leaf_of(iova, level);
        if (entry == nullptr) return {.memory = 0, .length = std::uint64_t{0} - iova, .reachable = false};
        const std::uint64_t last = last_of_entry(iova, level);
        if ((*entry & kLeaf) == 0) return {.memory = 0, .length = last - iova + 1, .reachable = false};
        leaf = {.first = iova & ~(size_of(level) - 1), .last = last, .entry = *entry};
        (shift_of(level) < kLargeBits ? recent_small(iova) : recent_large(iova)) = leaf;
    }
    return {.memory = leaf.memory_at(iova),
            .length = leaf.last - iova + 1,
            .reachable = (leaf.entry & permission) != 0};
}

// Of a range that is unmapped as a whole: each of its leaves lies in it.
void Domain::forget(std::uint64_t first, std::uint64_t last) noexcept {
    for (Recent& leaf : recent_small_)
        if (leaf.first <= last && leaf.last >= first) leaf = {};
    const std::uint64_t count =
        std::min<std::uint64_t>((last >> kLargeBits) - (first >> kLargeBits) + 1, recent_large_.size());
    for (std::uint64_t i = 0; i < count; ++i) {
        Recent& leaf = recent_large_[((first >> kLargeBits) + i) % recent_large_.size()];
        if (leaf.first <= last && leaf.last >= first) leaf = {};
    }
}

// Neighbouring leaves of one mapping are one run, so that they are moved in one go.
Domain::Run Domain::run(std::uint64_t iova, std::uint64_t most, unsigned permission) const {
    Run whole = look_up(iova, permission);
    while (whole.length < most && extend(whole, iova + whole.length, most, permission)) {
    }
    whole.length = std::min(whole.length, most);
    return whole;
}

bool Domain::extend(Run& run, std::uint64_t next, std::uint64_t most, unsigned permission) const {
    int level = 0;
    const std::uint64_t* entry = leaf_of(next, level);
    if (entry == nullptr) {
        run.length = run.reachable ? run.length : most;
        return false;
    }
    const std::uint64_t size = size_of(level);
    const std::uint64_t* const end = entry + (entries_behind(next, level) + 1);
    for (; run.length < most && entry != end && (*entry & kTable) == 0; ++entry) {
        const bool reachable = (*entry & kLeaf) != 0 && (*entry & permission) != 0;
        if (reachable != run.reachable) return false;
        if (reachable && (*entry & ~kFlags) != run.memory + run.length) return false;
        run.length += size;
    }
    return true;
}

bool Domain::read_at_once(std::uint64_t iova, std::span<std::byte> to) const {
    if (!mutex_.lock_as_owner()) return false;
    const Recent* const leaf = recent_of(iova, to.size());
    const bool done = leaf != nullptr && (leaf->entry & kReadBit) != 0 &&
                      physical::read(to.data(), leaf->memory_at(iova), to.size()) == 0;
    mutex_.unlock(sys::OwnedMutex::Hold::as_owner);
    return done;
}

bool Domain::write_at_once(std::uint64_t iova, std::span<const std::byte> from) {
    if (!mutex_.lock_as_owner()) return false;
    const Recent* const leaf = recent_of(iova, from.size());
    const bool done = leaf != nullptr && (leaf->entry & kWriteBit) != 0 && !tracks_dirty_ &&
                      physical::write(leaf->memory_at(iova), from.data(), from.size()) == 0;
    mutex_.unlock(sys::OwnedMutex::Hold::as_owner);
    return done;
}

void Domain::read(std::uint64_t iova, std::span<std::byte> to, const OnBlocked& blocked) const {
    const sys::OwnedLock lock(mutex_);
    while (!to.empty()) {
        const Run here = run(iova, to.size(), kReadBit);
        if (!here.reachable || physical::read(to.data(), here.memory, here.length) < 0) {
            std::memset(to.data(), 0, here.length);
            blocked(iova, here.length);
        }
        iova += here.length;
        to = to.subspan(here.length);
    }
}

void Domain::write(std::uint64_t iova, std::span<const std::byte> from, const OnBlocked& blocked) {
    const sys::OwnedLock lock(mutex_);
    while (!from.empty()) {
        const Run here = run(iova, from.size(), kWriteBit);
        if (here.reachable && tracks_dirty_) mark_dirty(iova, here.length);
        if (!here.reachable || physical::write(here.memory, from.data(), here.length) < 0)
            blocked(iova, here.length);
        iova += here.length;
        from = from.subspan(here.length);
    }
}

Exchange Domain::exchange(std::uint64_t iova, std::uint64_t expected, std::uint64_t desired) {
    const sys::OwnedLock lock(mutex_);
    const Run here = look_up(iova, kWriteBit);
    if (!here.reachable) return Exchange::fault;
    if (tracks_dirty_) mark_dirty(iova, sizeof desired);
    return physical::exchange(here.memory, expected, desired);
}

std::optional<std::uint64_t> Domain::first_missing(std::uint64_t iova, std::uint64_t length,
                                                   unsigned permission) const {
    const sys::OwnedLock lock(mutex_);
    while (length != 0) {
        const Run here = run(iova, length, permission);
        if (!here.reachable) return iova;
        iova += here.length;
        length -= here.length;
    }
    return {};
}

std::optional<physical::Address> Domain::translate(std::uint64_t iova) const {
    const sys::OwnedLock lock(mutex_);
    int level = 0;
    const std::uint64_t* const entry = leaf_of(iova, level);
    if (entry == nullptr || (*entry & kLeaf) == 0) return {};
    return (*entry & ~kFlags) + (iova & (size_of(level) - 1));
}

}  // namespace iommufd::inline v0_1::model
