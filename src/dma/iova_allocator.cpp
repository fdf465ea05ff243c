// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/iova_allocator.hpp"

#include <algorithm>
#include <bit>

namespace iommufd::inline v0_1::dma {
namespace {

// Page sizes that IOMMUs have, largest first.
constexpr std::uint64_t kPages[] = {1_GiB, 2_MiB};

constexpr unsigned kSmallest = 12;  // as a power of two: the least that is kept apart

// a + b, or all there is.
constexpr std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
    return a + b < a ? ~std::uint64_t{0} : a + b;
}

// The first address at or after `from` that is congruent to `address` modulo a power of two; nothing past 2^64.
constexpr std::optional<Iova> congruent(Iova from, std::uint64_t address, std::uint64_t modulus) {
    const std::uint64_t up = (address - from.value) & (modulus - 1);
    if (from.value + up < from.value) return std::nullopt;
    return from + up;
}

}  // namespace

IovaAllocator::IovaAllocator() { free_.add({Iova{0}, Iova{~std::uint64_t{0}}}); }

IovaAllocator::Recent* IovaAllocator::recent(std::uint64_t length) noexcept {
    const auto size = static_cast<unsigned>(std::countr_zero(length)) - kSmallest;
    return size < kSizes && std::has_single_bit(length) ? &recent_[size] : nullptr;
}

std::optional<Range> IovaAllocator::again(const Wanted& wanted) noexcept {
    Recent* const list = recent(wanted.length);
    if (!list || list->count == 0 || wanted.guard != 0) return std::nullopt;
    const Range range = *Range::of(list->iovas[list->count - 1], wanted.length);
    if (((range.first.value - wanted.address) & (wanted.alignment - 1)) != 0 || range.last > wanted.last)
        return std::nullopt;
    const auto holds = [&](const Range& allowed) { return allowed.contains(range); };
    if (range.first == Iova{0} || std::ranges::none_of(allowed_, holds)) return std::nullopt;
    --list->count;
    return range;
}

std::optional<Range> IovaAllocator::alloc(const Wanted& wanted) noexcept {
    if (auto found = again(wanted)) return found;
    auto found = choose(wanted);
    if (!found) {
        settle();
        found = choose(wanted);
    }
    if (found) (void)free_.remove({found->first - wanted.guard, found->last + wanted.guard});
    return found;
}

bool IovaAllocator::take(Range range) noexcept {
    if (free_.remove(range)) return true;
    settle();
    return free_.remove(range);
}

void IovaAllocator::give_back(Range range) noexcept {
    Recent* const list = recent(range.length());
    if (!list) return free_.add(range);
    if (list->count == kRecent) {
        // The older half.
        constexpr unsigned half = kRecent / 2;
        for (unsigned i = 0; i < half; ++i) free_.add(*Range::of(list->iovas[i], range.length()));
        std::copy(list->iovas + half, list->iovas + kRecent, list->iovas);
        list->count = half;
    }
    list->iovas[list->count++] = range.first;
}

bool IovaAllocator::is_taken(Range range) const noexcept {
    for (unsigned size = 0; size < kSizes; ++size)
        for (unsigned i = 0; i < recent_[size].count; ++i)
            if (Range::of(recent_[size].iovas[i], std::uint64_t{1} << (size + kSmallest))->overlaps(range))
                return false;
    return !free_.overlaps(range);
}

void IovaAllocator::settle() noexcept {
    for (unsigned size = 0; size < kSizes; ++size)
        for (Recent& list = recent_[size]; list.count > 0; --list.count)
            free_.add(*Range::of(list.iovas[list.count - 1], std::uint64_t{1} << (size + kSmallest)));
}

std::optional<Range> IovaAllocator::choose(const Wanted& wanted) const noexcept {
    for (const std::uint64_t page : kPages)
        if (wanted.length >= page && page > wanted.alignment)
            if (const auto found = first_fit(wanted, page)) return found;
    return first_fit(wanted, wanted.alignment);
}

std::optional<Range> IovaAllocator::first_fit(const Wanted& wanted, std::uint64_t modulus) const noexcept {
    bool left_out = false;
    for (const bool try_all : {false, true}) {
        for (const Range& range : allowed_) {
            // IOVA 0 looks like a null pointer to too many devices.
            const Range within{std::max(range.first, Iova{1}), std::min(range.last, wanted.last)};
            if (within.first > within.last) continue;
            if (const auto found = first_fit(wanted, modulus, within, try_all, left_out)) return found;
        }
        if (!left_out) return std::nullopt;
    }
    return std::nullopt;
}

std::optional<Range> IovaAllocator::first_fit(const Wanted& wanted, std::uint64_t modulus, Range within,
                                              bool try_all, bool& left_out) const noexcept {
    const std::uint64_t span = sum(wanted.length - 1, sum(wanted.guard, wanted.guard));
    Iova from = within.first;
    for (unsigned misfits = 0;; ++misfits) {
        // After many holes that were large enough, but not where they are, one that is large enough wherever it is.
        const bool surely = misfits >= kMisfits && !try_all;
        left_out = left_out || surely;
        const auto hole = free_.find(from, surely ? sum(span, modulus - 1) : span);
        if (!hole || hole->first > within.last) return std::nullopt;
        const Iova lowest = std::max(within.first, Iova{sum(hole->first.value, wanted.guard)});
        const Iova end = std::min(within.last, hole->last - std::min(wanted.guard, hole->last.value));
        if (const auto first = congruent(lowest, wanted.address, modulus))
            if (const auto found = Range::of(*first, wanted.length); found && found->last <= end)
                return found;
        if (hole->last >= within.last) return std::nullopt;
        from = hole->last + 1;
    }
}

}  // namespace iommufd::inline v0_1::dma
