// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/intervals.hpp"

#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {

std::string_view name(Phase phase) noexcept {
    switch (phase) {
        case Phase::settled:
            return "settled";
        case Phase::mapping:
            return "being mapped";
        case Phase::unmapping:
            return "being unmapped";
        case Phase::attaching:
            return "being mapped for a device that attaches";
        case Phase::stuck:
            return "not released by a device";
    }
    return "";
}

std::string Interval::describe() const {
    return compose(Hex{range.first.value}, "+", Hex{length()}, " ('", memory->label(), "')");
}

std::uint64_t Interval::part_end(std::uint64_t start) const noexcept {
    const std::uint64_t rest = length() - start;
    // (A granule may be larger, and needs not divide it.)
    const std::uint64_t step = granule == 0     ? part - ((range.first.value + start) & (part - 1))
                               : part > granule ? part / granule * granule
                                                : granule;
    return start + std::min(step, rest);
}

Piece Interval::piece(std::uint64_t start, std::uint64_t size) const noexcept {
    return {.iova = range.first + start,
            .length = size,
            .address = memory->is_dma_buf() ? nullptr : address() + start,
            .fd = memory->fd(),
            .fd_offset = memory->fd_offset() + offset + start,
            .shared = memory->is_shared(),
            .access = access,
            .label = memory->label()};
}

Intervals::Map::iterator Intervals::at_or_after(Iova address) noexcept {
    auto next = map_.upper_bound(address);
    if (next != map_.begin()) {
        const auto before = std::prev(next);
        if (before->second.range.last >= address) return before;
    }
    return next;
}

Result<Interval*> Intervals::reserve(Interval&& interval) noexcept {
    return guarded(Operation::ioas_map, [&] { return try_reserve(std::move(interval)); });
}

Result<Interval*> Intervals::try_reserve(Interval&& interval) {
    const auto there = at_or_after(interval.range.first);
    if (there != map_.end() && there->second.range.overlaps(interval.range)) {
        const Interval& other = there->second;
        return Error::refused(
            other.phase == Phase::unmapping ? EBUSY : EEXIST, compose("cannot map ", interval.describe()),
            compose("it overlaps ", other.describe(), other.phase == Phase::settled ? "" : ", ",
                    other.phase == Phase::settled ? "" : name(other.phase)),
            "unmap that first, or choose another IOVA");
    }
    const Iova first = interval.range.first;
    return &map_.emplace_hint(there, first, std::move(interval))->second;
}

Result<void> Intervals::check_cut(const Interval& interval, Range range) const {
    const auto allowed = [&](std::uint64_t from_start) {
        return interval.granule != 0 && from_start % interval.granule == 0;
    };
    const bool front = range.first <= interval.range.first || allowed(range.first - interval.range.first);
    const bool back = range.last >= interval.range.last || allowed(range.last - interval.range.first + 1);
    if (front && back) return {};
    return Error::refused(
        EINVAL, compose("cannot unmap ", Hex{range.first.value}, "+", Hex{range.length()}),
        compose("it would split the mapping ", interval.describe(),
                interval.granule == 0 ? std::string()
                                      : compose(", which can be cut every ", size_text(interval.granule))),
        "unmap whole mappings, or map with a granule");
}

Result<Interval*> Intervals::select(Range range, std::uint64_t owner) noexcept {
    return guarded(Operation::ioas_unmap, [&] { return try_select(range, owner); });
}

// One whole interval, as most are.
Interval* Intervals::whole(Map::iterator first, Range range, std::uint64_t owner) noexcept {
    if (first == map_.end() || first->second.range != range) return nullptr;
    Interval& interval = first->second;
    if (interval.is_busy() || (interval.owner != 0 && interval.owner != owner)) return nullptr;
    interval.next = nullptr;
    return &interval;
}

Result<Interval*> Intervals::try_select(Range range, std::uint64_t owner) {
    const auto first = at_or_after(range.first);
    if (Interval* const interval = whole(first, range, owner)) return interval;
    for (auto it = first; it != map_.end() && it->second.range.first <= range.last; ++it) {
        const Interval& interval = it->second;
        if (auto cut = check_cut(interval, range); !cut) return cut.error();
        if (interval.is_busy())
            return Error::refused(EBUSY, compose("cannot unmap ", interval.describe()),
                                  compose("it is ", interval.activity()),
                                  "wait for that to end, and try again");
        if (interval.owner != 0 && interval.owner != owner)
            return Error::refused(EBUSY, compose("cannot unmap ", interval.describe()),
                                  "a live Mapping owns it",
                                  "let go of the Mapping instead, or leave() it to the space");
    }
    if (first == map_.end() || first->second.range.first > range.last)
        return Error::refused(ENOENT,
                              compose("cannot unmap ", Hex{range.first.value}, "+", Hex{range.length()}),
                              "nothing is mapped there", "look at the space's list of mappings");

    // All checks are behind us: cut at the ends where granules allow it, and collect.
    if (first->second.range.first < range.first) split(first, range.first);
    const auto tail = at_or_after(range.last);
    if (tail != map_.end() && tail->second.range.first <= range.last && tail->second.range.last > range.last)
        split(tail, range.last + 1);
    Interval* found = nullptr;
    auto* last = &found;
    for (auto it = at_or_after(range.first); it != map_.end() && it->second.range.first <= range.last; ++it) {
        *last = &it->second;
        last = &it->second.next;
        *last = nullptr;
    }
    return found;
}

void Intervals::split(Map::iterator where, Iova at) {
    where->second.is_cut = true;
    Interval rest = where->second;
    rest.range.first = at;
    rest.guard_before = 0;
    rest.offset += at - where->second.range.first;
    map_.emplace_hint(std::next(where), at, std::move(rest));
    where->second.range.last = at - 1;
    where->second.guard_after = 0;
}

}  // namespace iommufd::inline v0_1::dma
