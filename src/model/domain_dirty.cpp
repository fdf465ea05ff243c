// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The dirty bits of an I/O page table: one in every entry, read and cleared a leaf at a time.
#include <algorithm>
#include <span>

#include "model/domain_table.hpp"

namespace iommufd::inline v0_1::model {

bool Domain::tracking() const {
    const sys::OwnedLock lock(mutex_);
    return tracking_;
}

void Domain::set_tracking(bool on) {
    const sys::OwnedLock lock(mutex_);
    tracking_ = on;
}

void Domain::set_dirty(std::uint64_t iova) {
    const sys::OwnedLock lock(mutex_);
    mark_dirty(iova, 1);
}

void Domain::mark_dirty(std::uint64_t iova, std::uint64_t length) {
    const std::uint64_t last = iova + length - 1;
    while (true) {
        int level = 0;
        std::uint64_t* const entry = leaf_of(iova, level);
        if (entry == nullptr) return;
        if ((*entry & kLeaf) != 0) *entry |= kDirty;
        const std::uint64_t end = last_of_entry(iova, level);
        if (end >= last) return;
        iova = end + 1;
    }
}

void Domain::read_dirty(std::uint64_t iova, std::uint64_t length, bool clear, const OnDirty& found) {
    const sys::OwnedLock lock(mutex_);
    if (iova <= geometry_.last) dirty_level(*root_, root_level_, iova, iova + length - 1, clear, found);
}

void Domain::dirty_level(Table& table, int level, std::uint64_t iova, std::uint64_t last, bool clear,
                         const OnDirty& found) const {
    while (true) {
        std::uint64_t& entry = entry_of(table, iova, level);
        std::uint64_t end = last_of_entry(iova, level);
        if ((entry & kTable) != 0) {
            dirty_level(*Table::next(entry), level - 1, iova, std::min(last, end), clear, found);
        } else if ((entry & kLeaf) != 0) {
            const std::uint64_t size = std::uint64_t{1} << leaf_bits(entry);
            const std::uint64_t start = iova & ~(size - 1);
            end = start + (size - 1);
            const std::span<std::uint64_t> all(&entry_of(table, start, level), size / size_of(level));
            if (std::ranges::any_of(all, [](std::uint64_t e) { return (e & kDirty) != 0; })) {
                found(start, size);
                if (clear)
                    for (std::uint64_t& e : all) e &= ~kDirty;
            }
        }
        if (end >= last) return;
        iova = end + 1;
    }
}

}  // namespace iommufd::inline v0_1::model
