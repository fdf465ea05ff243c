// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One table of an I/O page table. For the sources of Domain only.
#pragma once

#include <array>
#include <cstdint>

#include "model/domain.hpp"

namespace iommufd::inline v0_1::model {

// An entry: the address of memory or of the next table, and in its low bits what it is.
inline constexpr std::uint64_t kReadBit = kReadable;
inline constexpr std::uint64_t kWriteBit = kWritable;
inline constexpr std::uint64_t kLeaf = 4;
inline constexpr std::uint64_t kTable = 8;
inline constexpr std::uint64_t kDirty = 16;
inline constexpr unsigned kLeafBitsShift = 5;  // then six bits: how large the leaf is, as a power of two
inline constexpr std::uint64_t kFlags = (1U << 11) - 1;

inline constexpr unsigned kIndexBits = 9;

inline unsigned leaf_bits(std::uint64_t entry) noexcept {
    return static_cast<unsigned>(entry >> kLeafBitsShift & 63);
}

struct alignas(user::kPage) Domain::Table {
    std::array<std::uint64_t, 1U << kIndexBits> entries{};

    Table() = default;
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;
    ~Table() {
        for (const std::uint64_t entry : entries)
            if ((entry & kTable) != 0) delete next(entry);
    }

    static Table* next(std::uint64_t entry) { return reinterpret_cast<Table*>(entry & ~kFlags); }
};

inline physical::Address Domain::Recent::memory_at(std::uint64_t iova) const noexcept {
    return (entry & ~kFlags) + (iova - first);
}

inline unsigned Domain::shift_of(int level) const noexcept {
    return geometry_.granule_bits + kIndexBits * static_cast<unsigned>(level);
}

inline std::uint64_t Domain::size_of(int level) const noexcept { return std::uint64_t{1} << shift_of(level); }

// The last IOVA that the entry of `iova` covers; right at the end of the address space, too.
inline std::uint64_t Domain::last_of_entry(std::uint64_t iova, int level) const noexcept {
    return iova | (size_of(level) - 1);
}

inline std::uint64_t& Domain::entry_of(Table& table, std::uint64_t iova, int level) const noexcept {
    return table.entries[(iova >> shift_of(level)) % table.entries.size()];
}

inline std::size_t Domain::entries_behind(std::uint64_t iova, int level) const noexcept {
    constexpr std::size_t kLastIndex = (1U << kIndexBits) - 1;
    return kLastIndex - (iova >> shift_of(level) & kLastIndex);
}

}  // namespace iommufd::inline v0_1::model
