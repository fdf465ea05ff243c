// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The half of a PageRadix that changes it.
//
//     insert()   takes a free range: its leaves have no rights yet, so that readers see nothing     may fail
//     show()     gives them rights                                                                  can't
//     cut()      makes a block end at an address, which it may lie across                           may fail
//     erase()    makes a range free, whose ends no block lies across                                can't
//
// So what may fail comes before the kernel is asked, and what can't after it has agreed.
//
// A table that becomes empty stays for the next insert() there, until another one does: then it is unlinked, and must stay as it is until no reader can be in it: take_unlinked() hands it over.
//
// Threads: one changes it at a time.
#pragma once

#include <utility>

#include "dma/table_pool.hpp"
#include "iommufd/core/types.hpp"
#include "iommufd/dma/page_radix.hpp"

namespace iommufd::inline v0_1::dma {

class PageMap final : public PageRadix {
public:
    // The pool outlives it, and the tables with the pool.
    explicit PageMap(TablePool& pool) noexcept : pool_(pool) {}
    PageMap(const PageMap&) = delete;
    PageMap& operator=(const PageMap&) = delete;

    // Ranges are of whole pages. Throws bad_alloc, and then nothing has changed.
    void insert(Range range, std::uint64_t difference);
    void show(Range range, unsigned rights) noexcept;  // bits of an Access; 0 hides it again
    // Those with the right to write mark it from now on, or no longer; others stay as they are.
    void mark_writes(Range range, bool on) noexcept;
    // Throws bad_alloc; blocks are smaller then, and lead where they led.
    void cut(std::uint64_t address);
    void erase(Range range) noexcept;

    // Unlinks the one that stays.
    void tidy() noexcept;
    // A chain by `next`, for the pool.
    Table* take_unlinked() noexcept { return std::exchange(unlinked_, nullptr); }
    static Table* join(Table* chain, Table* other) noexcept;

private:
    // The way down to one entry.
    struct Path {
        Table* tables[4];  // below the root
        Root* root;
        unsigned depth = 0;  // how many tables
        unsigned shift = 0;  // of the lowest one's entries

        void down(Table& table) noexcept {
            tables[depth++] = &table;
            shift -= kTableBits;
        }
        unsigned index(std::uint64_t address) const noexcept {
            // NOLINTNEXTLINE(clang-analyzer-core.BitwiseShift): the lowest tables have leaves only
            return static_cast<unsigned>(address >> shift) & ((depth == 0 ? kRootEntries : kEntries) - 1);
        }
        std::atomic<Entry>& slot(std::uint64_t address) const noexcept {
            return (depth == 0 ? root->entries : tables[depth - 1]->entries)[index(address)];
        }
        std::uint64_t last_of(std::uint64_t address) const noexcept {
            return address | ((std::uint64_t{1} << shift) - 1);
        }
        void count(int entries) const noexcept {
            if (depth > 0) tables[depth - 1]->used += static_cast<unsigned>(entries);
        }
    };

    static unsigned zone_of(std::uint64_t address) noexcept {
        return address >> 39 == 0 ? 0 : address >> 48 == 0 ? 1 : 2;
    }
    void make_roots(Range range);
    Path descend(std::uint64_t address) const noexcept;
    void prune(Path path, std::uint64_t address) noexcept;
    void linger(const Path& path, std::uint64_t address) noexcept;
    template <class Change>
    void each_leaf(Range range, Change&& change) noexcept;

    // (What the writer changes isn't beside what readers read.)
    alignas(64) TablePool& pool_;
    Table* unlinked_ = nullptr;
    // The last one that became empty, and what it is for.
    Table* lingering_ = nullptr;
    std::uint64_t lingers_for_ = 0;
};

}  // namespace iommufd::inline v0_1::dma
