// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/first_stage.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::model {
namespace {

// Of an entry. What else it has is ignored, or doesn't matter to memory.
constexpr std::uint64_t kPresent = 1U << 0;
constexpr std::uint64_t kWriteable = 1U << 1;
constexpr std::uint64_t kUser = 1U << 2;
constexpr std::uint64_t kAccessed = 1U << 5;
constexpr std::uint64_t kDirtied = 1U << 6;
constexpr std::uint64_t kLargePage = 1U << 7;
constexpr std::uint64_t kAddress = ((1ULL << 52) - 1) & ~((1ULL << 12) - 1);
constexpr unsigned kFirstReservedOfLarge = 13;  // below it lies the memory type

constexpr unsigned kPageBits = 12;
constexpr unsigned kLevelBits = 9;
constexpr unsigned kLevels = 4;
constexpr unsigned kHighestLeaf = 2;  // of 1 GiB
constexpr unsigned kMostTries = 16;   // while somebody else changes the entries

constexpr unsigned shift_of(unsigned level) { return kPageBits + kLevelBits * level; }
constexpr std::uint64_t size_of(unsigned level) { return std::uint64_t{1} << shift_of(level); }

bool is_canonical(std::uint64_t iova) {
    const std::uint64_t upper = iova >> (shift_of(kLevels) - 1);
    return upper == 0 || upper == ~std::uint64_t{0} >> (shift_of(kLevels) - 1);
}

}  // namespace

void FirstStage::forget() {
    leaves_ = {};
    tables_ = {};
}

void FirstStage::flush() {
    const sys::Lock lock(mutex_);
    forget();
}

// What a parent's page table loses takes all translations with it that were made through it.
void FirstStage::follow_parent() {
    const std::uint64_t now = parent_->flushes();
    if (now != parent_flushes_) forget();
    parent_flushes_ = now;
}

void FirstStage::invalidate(std::uint64_t first, std::uint64_t last, bool leaves_only) {
    const sys::Lock lock(mutex_);
    for (Leaf& leaf : leaves_)
        if (leaf.range.touches(first, last)) leaf = {};
    if (leaves_only) return;
    for (LowestTable& table : tables_)
        if (table.range.touches(first, last)) table = {};
}

std::optional<std::uint64_t> FirstStage::entry_at(std::uint64_t address) const {
    std::uint64_t entry = 0;
    bool reached = true;
    parent_->read(address, std::as_writable_bytes(std::span(&entry, 1)),
                  [&](std::uint64_t, std::uint64_t) { reached = false; });
    if (!reached) return {};
    return entry;
}

FirstStage::Walked FirstStage::walk(std::uint64_t iova, Access access, Leaf& leaf) {
    struct Used {
        std::uint64_t at;
        std::uint64_t entry;
    };
    std::array<Used, kLevels> used{};
    std::size_t count = 0;
    LowestTable& lowest = tables_[(iova >> shift_of(1)) % tables_.size()];
    LowestTable table{.range = {}, .at = config_.pgtbl_addr & kAddress, .writable = true};
    unsigned level = kLevels - 1;
    if (lowest.range.has(iova)) {
        table = lowest;
        level = 0;
    }
    bool writable = table.writable;
    for (;; --level) {
        const std::uint64_t at =
            table.at + (iova >> shift_of(level)) % (1U << kLevelBits) * sizeof(std::uint64_t);
        const std::optional<std::uint64_t> entry = entry_at(at);
        if (!entry || (*entry & kPresent) == 0 || (*entry & kUser) == 0) return Walked::missing;
        writable = writable && (*entry & kWriteable) != 0;
        used[count++] = {.at = at, .entry = *entry};
        const bool large = level != 0 && (*entry & kLargePage) != 0;
        if (large && (level > kHighestLeaf ||
                      (*entry & (size_of(level) - 1) & ~((1U << kFirstReservedOfLarge) - 1)) != 0))
            return Walked::missing;  // a reserved bit is set
        if (level == 0 || large) break;
        table.at = *entry & kAddress;
        table.writable = writable;
    }
    if (access.write && !writable) return Walked::missing;
    const std::uint64_t last_entry = used[count - 1].entry;
    leaf = {.range = {.first = iova & ~(size_of(level) - 1), .last = iova | (size_of(level) - 1)},
            .memory = last_entry & kAddress & ~(size_of(level) - 1),
            .writable = writable,
            .dirty = access.write || (last_entry & kDirtied) != 0};
    if (!access.marks) return Walked::reached;
    for (std::size_t i = 0; i < count; ++i) {
        std::uint64_t marked = used[i].entry | kAccessed;
        if (access.write && i + 1 == count) marked |= kDirtied;
        if (marked == used[i].entry) continue;
        const Exchange changed = parent_->exchange(used[i].at, used[i].entry, marked);
        if (changed != Exchange::done) return changed == Exchange::other ? Walked::changed : Walked::missing;
    }
    if (level == 0) {
        table.range = {.first = iova & ~(size_of(1) - 1), .last = iova | (size_of(1) - 1)};
        lowest = table;
    }
    return Walked::reached;
}

std::optional<FirstStage::Leaf> FirstStage::look_up(std::uint64_t iova, Access access) {
    Leaf& recent = leaves_[(iova >> kPageBits) % leaves_.size()];
    if (recent.range.has(iova) && (!access.write || (recent.writable && recent.dirty))) return recent;
    if (!is_canonical(iova)) return {};
    for (unsigned tries = 0; tries < kMostTries; ++tries) {
        Leaf leaf;
        const Walked walked = walk(iova, access, leaf);
        if (walked == Walked::missing) return {};
        if (walked == Walked::changed) continue;
        if (access.marks) recent = leaf;
        return leaf;
    }
    return {};
}

FirstStage::Run FirstStage::run(std::uint64_t iova, std::uint64_t most, Access access) {
    const std::optional<Leaf> first = look_up(iova, access);
    if (!first) return {.length = std::min(most, size_of(0) - iova % size_of(0))};
    Run whole{.memory = first->memory + (iova - first->range.first),
              .length = first->range.last - iova + 1,
              .reachable = true};
    while (whole.length < most) {
        const std::uint64_t next = iova + whole.length;
        const std::optional<Leaf> more = look_up(next, access);
        if (!more || more->memory + (next - more->range.first) != whole.memory + whole.length) break;
        whole.length += more->range.last - next + 1;
    }
    whole.length = std::min(whole.length, most);
    return whole;
}

void FirstStage::read(std::uint64_t iova, std::span<std::byte> to, const OnBlocked& blocked) {
    const sys::Lock lock(mutex_);
    follow_parent();
    while (!to.empty()) {
        const Run here = run(iova, to.size(), {.write = false, .marks = true});
        if (here.reachable) {
            parent_->read(here.memory, to.first(here.length), [&](std::uint64_t at, std::uint64_t length) {
                blocked(iova + (at - here.memory), length);
            });
        } else {
            std::ranges::fill(to.first(here.length), std::byte{0});
            blocked(iova, here.length);
        }
        iova += here.length;
        to = to.subspan(here.length);
    }
}

void FirstStage::write(std::uint64_t iova, std::span<const std::byte> from, const OnBlocked& blocked) {
    const sys::Lock lock(mutex_);
    follow_parent();
    while (!from.empty()) {
        const Run here = run(iova, from.size(), {.write = true, .marks = true});
        if (here.reachable)
            parent_->write(here.memory, from.first(here.length), [&](std::uint64_t at, std::uint64_t length) {
                blocked(iova + (at - here.memory), length);
            });
        else
            blocked(iova, here.length);
        iova += here.length;
        from = from.subspan(here.length);
    }
}

std::optional<std::uint64_t> FirstStage::first_missing(std::uint64_t iova, std::uint64_t length,
                                                       unsigned permission) {
    const sys::Lock lock(mutex_);
    follow_parent();
    while (length != 0) {
        const Run here = run(iova, length, {.write = permission == kWritable, .marks = false});
        if (!here.reachable) return iova;
        if (const auto missing = parent_->first_missing(here.memory, here.length, permission))
            return iova + (*missing - here.memory);
        iova += here.length;
        length -= here.length;
    }
    return {};
}

}  // namespace iommufd::inline v0_1::model
