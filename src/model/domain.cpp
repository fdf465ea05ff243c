// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/domain.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

namespace iommufd::inline v0_1::model {
namespace {

// An entry: the address of memory or of the next table, and in its low bits what it is.
constexpr std::uint64_t kReadBit = kReadable;
constexpr std::uint64_t kWriteBit = kWritable;
constexpr std::uint64_t kLeaf = 4;
constexpr std::uint64_t kTable = 8;
constexpr std::uint64_t kFlags = user::kPage - 1;

constexpr unsigned kIndexBits = 9;
constexpr int kLargestLeafLevel = 2;  // 1 GiB

constexpr unsigned shift_of(int level) { return 12 + kIndexBits * static_cast<unsigned>(level); }
constexpr std::uint64_t size_of(int level) { return std::uint64_t{1} << shift_of(level); }

// The last IOVA that the entry of `iova` covers; right at the end of the address space, too.
constexpr std::uint64_t last_of_entry(std::uint64_t iova, int level) { return iova | (size_of(level) - 1); }

}  // namespace

struct alignas(user::kPage) Domain::Table {
    std::array<std::uint64_t, 1U << kIndexBits> entries{};

    Table() = default;
    Table(const Table&) = delete;
    Table& operator=(const Table&) = delete;
    ~Table() {
        for (std::uint64_t& entry : entries) clear(entry);
    }

    static Table* next(std::uint64_t entry) { return reinterpret_cast<Table*>(entry & ~kFlags); }

    static void clear(std::uint64_t& entry) noexcept {
        if ((entry & kTable) != 0) delete next(entry);
        entry = 0;
    }

    std::uint64_t& entry(std::uint64_t iova, int level) {
        return entries[(iova >> shift_of(level)) % entries.size()];
    }
};

Domain::Domain(std::uint64_t last)
    : last_(last),
      root_level_((std::max(static_cast<int>(std::bit_width(last)), 13) - 13) / static_cast<int>(kIndexBits)),
      root_(std::make_unique<Table>()) {}

Domain::~Domain() = default;

int Domain::map(std::uint64_t iova, std::uint64_t length, user::Address memory, unsigned permissions,
                bool large_pages) {
    const sys::Lock lock(mutex_);
    try {
        map_level(*root_, root_level_, iova, iova + length - 1, memory, permissions | kLeaf, large_pages);
        return 0;
    } catch (const std::bad_alloc&) {
        unmap_level(*root_, root_level_, iova, iova + length - 1);
        return -ENOMEM;
    }
}

void Domain::map_level(Table& table, int level, std::uint64_t iova, std::uint64_t last, user::Address memory,
                       std::uint64_t flags, bool large_pages) {
    while (true) {
        const std::uint64_t end = std::min(last, last_of_entry(iova, level));
        std::uint64_t& entry = table.entry(iova, level);
        const bool whole = end - iova == size_of(level) - 1;
        const bool aligned = (memory & (size_of(level) - 1)) == 0;
        if (level == 0 || (large_pages && level <= kLargestLeafLevel && whole && aligned && entry == 0)) {
            entry = memory | flags;
        } else {
            if (entry == 0) entry = reinterpret_cast<std::uint64_t>(new Table) | kTable;
            map_level(*Table::next(entry), level - 1, iova, end, memory, flags, large_pages);
        }
        if (end == last) return;
        memory += end + 1 - iova;
        iova = end + 1;
    }
}

void Domain::unmap(std::uint64_t iova, std::uint64_t length) noexcept {
    const sys::Lock lock(mutex_);
    unmap_level(*root_, root_level_, iova, iova + length - 1);
}

void Domain::unmap_level(Table& table, int level, std::uint64_t iova, std::uint64_t last) noexcept {
    while (true) {
        const std::uint64_t end = std::min(last, last_of_entry(iova, level));
        std::uint64_t& entry = table.entry(iova, level);
        const bool whole = end - iova == size_of(level) - 1;
        if (whole || (entry & kLeaf) != 0) {
            Table::clear(entry);
        } else if ((entry & kTable) != 0) {
            unmap_level(*Table::next(entry), level - 1, iova, end);
        }
        if (end == last) return;
        iova = end + 1;
    }
}

Domain::Run Domain::look_up(std::uint64_t iova, unsigned permission) const {
    if (iova > last_) return {.memory = 0, .length = std::uint64_t{0} - iova, .reachable = false};
    Table* table = root_.get();
    for (int level = root_level_;; --level) {
        const std::uint64_t entry = table->entry(iova, level);
        if ((entry & kTable) != 0) {
            table = Table::next(entry);
            continue;
        }
        const std::uint64_t offset = iova & (size_of(level) - 1);
        return {.memory = (entry & ~kFlags) + offset,
                .length = size_of(level) - offset,
                .reachable = (entry & permission) != 0};
    }
}

// Neighbouring leaves of one mapping are one run, so that they are moved in one go.
Domain::Run Domain::run(std::uint64_t iova, std::uint64_t most, unsigned permission) const {
    Run whole = look_up(iova, permission);
    while (whole.length < most) {
        const Run more = look_up(iova + whole.length, permission);
        if (more.reachable != whole.reachable ||
            (more.reachable && more.memory != whole.memory + whole.length))
            break;
        whole.length += more.length;
    }
    whole.length = std::min(whole.length, most);
    return whole;
}

void Domain::read(std::uint64_t iova, std::span<std::byte> to, const OnBlocked& blocked) const {
    const sys::Lock lock(mutex_);
    while (!to.empty()) {
        const Run here = run(iova, to.size(), kReadBit);
        if (!here.reachable || user::copy_from(to.data(), here.memory, here.length) < 0) {
            std::memset(to.data(), 0, here.length);
            blocked(iova, here.length);
        }
        iova += here.length;
        to = to.subspan(here.length);
    }
}

void Domain::write(std::uint64_t iova, std::span<const std::byte> from, const OnBlocked& blocked) const {
    const sys::Lock lock(mutex_);
    while (!from.empty()) {
        const Run here = run(iova, from.size(), kWriteBit);
        if (!here.reachable || user::copy_to(here.memory, from.data(), here.length) < 0)
            blocked(iova, here.length);
        iova += here.length;
        from = from.subspan(here.length);
    }
}

}  // namespace iommufd::inline v0_1::model
