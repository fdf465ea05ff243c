// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The books of a Space: which IOVAs are taken, by what memory, and what is being done with them.
//
//     reserve()          planned or mapping: the range is taken before the kernel is asked
//     settle() / drop()  what the kernel said
//     select()           the intervals that an unmap of a range would remove, or why it must not
//
// Not thread-safe: the Space's mutex guards it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dma/memory_node.hpp"
#include "iommufd/dma/sink.hpp"

namespace iommufd::inline v0_1::dma {

// What is going on with an interval; anything but `settled` refuses other operations on it.
enum class Phase : std::uint8_t {
    settled,
    mapping,
    unmapping,
    attaching,  // a new sink is being told of it
    stuck,      // a sink may still have it though it was unmapped
};

std::string_view name(Phase phase) noexcept;

struct Interval {
    Range range;
    std::shared_ptr<const Memory::Node> memory;
    std::uint64_t offset;  // into the memory, in bytes
    Access access;
    std::uint64_t granule;     // it may be unmapped in multiples of this; 0: only whole
    std::uint64_t part = 0;    // mapped in kernel calls of so many bytes, a power of two; 0: in one
    std::uint64_t owner;       // the ticket of the live Mapping that owns it; 0: the space
    std::uint64_t generation;  // counts reservations: what came before an attach, and what after
    Phase phase;
    Phase then = Phase::stuck;       // after a failure to unmap it
    bool holds_iovas = false;        // and gives them back when it goes
    bool is_cut = false;             // its ends may lie within what readers see as one block
    bool shown = false;              // readers may see it
    bool unreached = false;          // a dma-buf that a sink did without
    unsigned lent = 0;               // how many other spaces are taking its pins just now
    bool abandoned = false;          // nobody's any more: whoever changes the space next unmaps it
    std::optional<Error> failure;    // why it could not be unmapped
    Interval* next = nullptr;        // of those that are on their way out together
    std::uint64_t guard_before = 0;  // bytes that are its own too, and unmapped
    std::uint64_t guard_after = 0;

    std::uint64_t length() const noexcept { return range.length(); }
    Range with_guards() const noexcept { return {range.first - guard_before, range.last + guard_after}; }
    // Nobody's, and nothing is being done with it.
    bool waits_for_retry() const noexcept { return abandoned && !is_busy(); }
    bool is_busy() const noexcept { return lent != 0 || (phase != Phase::settled && phase != Phase::stuck); }
    std::string_view activity() const noexcept {
        return lent != 0 ? "being copied into another space" : name(phase);
    }
    // Null for a dma-buf.
    const std::byte* address() const noexcept {
        return memory->is_dma_buf() ? nullptr : memory->data() + offset;
    }
    // Whether a page table, or a device's log, may tell of writes to it.
    bool is_written_by_devices() const noexcept { return may_write(access) && !memory->is_dma_buf(); }
    // "0x4000000+0x1000 ('ram')"
    std::string describe() const;
    // The kernel calls that map it: one, or one for each granule or part.
    template <class Visit>
    bool each_piece(Visit&& visit) const {
        return each_piece_in(0, length(), std::forward<Visit>(visit));
    }
    // Those between two ends of parts.
    template <class Visit>
    bool each_piece_in(std::uint64_t start, std::uint64_t end, Visit&& visit) const;
    // Where the part that starts there ends; all from the interval's start.
    std::uint64_t part_end(std::uint64_t start) const noexcept;
    Piece piece(std::uint64_t start, std::uint64_t length) const noexcept;
};

class Intervals {
public:
    // By first address; nodes stay where they are until they are dropped.
    using Map = std::map<Iova, Interval>;

    const Map& all() const noexcept { return map_; }
    Map& all() noexcept { return map_; }

    // Takes the range. EEXIST, naming what is there; EBUSY, if that is being unmapped.
    Result<Interval*> reserve(Interval&& interval) noexcept;
    void drop(const Interval& interval) noexcept { map_.erase(interval.range.first); }

    // The intervals that lie in the range, which it may cut at granules only: then they are split.
    //   ENOENT: nothing is there. EINVAL: it would split one. EBUSY: an operation is in flight on one, or it
    //   belongs to a live Mapping other than `owner`.
    // Returns the first, chained by `next`.
    Result<Interval*> select(Range range, std::uint64_t owner) noexcept;

    // Calls visit(interval) for those that lie in the range at least in part.
    template <class Visit>
    void each_in(Range range, Visit&& visit) {
        for (auto it = at_or_after(range.first); it != map_.end() && it->second.range.first <= range.last;
             ++it)
            visit(it->second);
    }

    // The first interval that ends at or after `address`.
    Map::iterator at_or_after(Iova address) noexcept;

private:
    Result<Interval*> try_reserve(Interval&& interval);
    Interval* whole(Map::iterator first, Range range, std::uint64_t owner) noexcept;
    Result<Interval*> try_select(Range range, std::uint64_t owner);
    Result<void> check_cut(const Interval& interval, Range range) const;
    void split(Map::iterator where, Iova at);

    Map map_;
};

template <class Visit>
bool Interval::each_piece_in(std::uint64_t start, std::uint64_t end, Visit&& visit) const {
    for (;;) {
        const std::uint64_t rest = end - start;
        const std::uint64_t step = granule != 0 ? granule : part != 0 ? part_end(start) - start : rest;
        if (!visit(piece(start, std::min(step, rest)))) return false;
        if (rest <= step) return true;
        start += step;
    }
}

}  // namespace iommufd::inline v0_1::dma
