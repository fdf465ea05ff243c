// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What readers walk: radix trees from addresses to where they lead, with a wide root and tables of 512 entries. There is one
// for each zone of addresses, so that the common ones have a short way:
//
//     below 2^39   root (2^18 entries of 2 MiB) --> table of 4 KiB pages
//     below 2^48   root (2^18 entries of 1 GiB) --> table of 2 MiB --> table of 4 KiB
//     all others   root (2^16 of 2^48 bytes)    --> ... four tables
//
// A leaf says by how much the target differs from the address, so that a block needs no alignment of its target, and that
// any size of memory takes few leaves. A hole is a leaf too, that nobody may take: so a walk asks one question a level.
//
// This is the half that reads, inline, since it costs less than a call. src/dma/page_map.hpp is the half that changes it.
//
// Threads: any number may walk while one changes. What was found stays valid as long as the reader's guard.
#pragma once

#include <atomic>
#include <cstdint>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

class IOMMUFD_EXPORT PageRadix {
public:
    // Lowest bit set: the address of a Table, plus 1. Else a leaf: the rights of an Access from bit 1 on, and the difference in
    // the bits of whole pages.
    using Entry = std::uint64_t;
    static constexpr Entry kTable = 1;
    static constexpr Entry kRights = 6;
    static constexpr Entry kTaken = 8;   // no hole, though perhaps nobody may take it yet
    static constexpr Entry kMarks = 16;  // the right to write, for those who mark what they write to
    static constexpr Entry kDifference = ~std::uint64_t{0xfff};
    static constexpr Entry kHole = 0;

    static constexpr unsigned kPageBits = 12;
    static constexpr unsigned kTableBits = 9;
    static constexpr unsigned kRootBits = 18;
    static constexpr unsigned kEntries = 1U << kTableBits;
    static constexpr unsigned kRootEntries = 1U << kRootBits;

    // Whether a leaf gives the rights in `wanted`.
    static constexpr bool allows(Entry leaf, Entry wanted) noexcept {
        return ((leaf | (leaf & kMarks) >> 2) & wanted) == wanted;
    }

    struct alignas(64) Table {
        std::atomic<Entry> entries[kEntries] = {};
        std::uint32_t used = 0;  // entries that are no hole; the writer's
        Table* next = nullptr;   // of those that wait for something; the writer's
    };
    // Of whole pages, of which few are touched.
    struct Root {
        std::atomic<Entry> entries[kRootEntries];
    };

    struct Found {
        Entry entry;         // a leaf
        std::uint64_t rest;  // its block, or the hole, is of rest + 1 bytes, and aligned to that

        std::uint64_t last_of(std::uint64_t address) const noexcept { return address | rest; }
    };

    // Where find() would end, without a look at it: to have it fetched. If it isn't a leaf any more, find() knows.
    struct Leaf {
        const std::atomic<Entry>* entry;
        std::uint64_t rest;  // as above
    };
    [[gnu::always_inline]] Leaf leaf(std::uint64_t address) const noexcept {
        if (address >> 39 != 0) [[unlikely]]
            return leaf_far(address);
        return leaf_at<21>(roots_[0].load(std::memory_order_acquire)->entries[address >> 21], address);
    }

    // Inline for what is common.
    [[gnu::always_inline]] Found find(std::uint64_t address) const noexcept {
        if (address >> 39 == 0) [[likely]]
            return in_root<21>(roots_[0], address);
        if (address >> 48 == 0) [[likely]]
            return in_root<30>(roots_[1], address);
        return find_far(address);
    }

protected:
    PageRadix() = default;
    ~PageRadix() = default;

    static Root nothing;
    static constexpr unsigned kZones = 3;
    alignas(64) std::atomic<Root*> roots_[kZones] = {&nothing, &nothing, &nothing};

private:
    Found find_far(std::uint64_t address) const noexcept;
    Leaf leaf_far(std::uint64_t address) const noexcept;

    template <unsigned shift>
    [[gnu::always_inline]] static Leaf leaf_at(const std::atomic<Entry>& entry,
                                               std::uint64_t address) noexcept {
        if constexpr (shift > kPageBits)
            if (const Entry at = entry.load(std::memory_order_acquire); (at & kTable) != 0)
                return leaf_at<shift - kTableBits>(table_at<shift - kTableBits>(at, address), address);
        return {&entry, (std::uint64_t{1} << shift) - 1};
    }
    template <unsigned shift>
    [[gnu::always_inline]] static const std::atomic<Entry>& table_at(Entry table,
                                                                     std::uint64_t address) noexcept {
        return reinterpret_cast<const Table*>(table - kTable)->entries[address >> shift & (kEntries - 1)];
    }

    template <unsigned shift>
    [[gnu::always_inline]] static Found in_root(const std::atomic<Root*>& root,
                                                std::uint64_t address) noexcept {
        return walk<shift>(
            root.load(std::memory_order_acquire)->entries[address >> shift].load(std::memory_order_acquire),
            address);
    }
    template <unsigned shift>
    [[gnu::always_inline]] static Found walk(Entry entry, std::uint64_t address) noexcept {
        if constexpr (shift > kPageBits)
            if ((entry & kTable) != 0) [[likely]] {
                constexpr unsigned below = shift - kTableBits;
                return walk<below>(table_at<below>(entry, address).load(std::memory_order_acquire), address);
            }
        return {entry, (std::uint64_t{1} << shift) - 1};
    }
};

}  // namespace iommufd::inline v0_1::dma
