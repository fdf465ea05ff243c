// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// unmap of a Space, and what becomes of that which can't be unmapped.
#include <algorithm>
#include <cerrno>
#include <ranges>

#include "dma/sink_calls.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/probes.hpp"

namespace iommufd::inline v0_1::dma {

std::optional<Error> remove_from(Sink& sink, Range range) noexcept {
    for (;;) {
        const auto unmapped = ask([&] { return sink.unmap(range); });
        if (!unmapped && unmapped.error().code() != ENOENT) return unmapped.error();
        // A sink may do it in part only; all 2^64 addresses have the length 0.
        if (!unmapped || *unmapped == 0 || *unmapped == range.length()) return std::nullopt;
    }
}

struct SpaceState::Removal {
    Interval* intervals = nullptr;  // chained
    std::shared_ptr<const Company> company;
    SinkPointers leaving = {};
    LastBits last = {};
    std::uint64_t removed = 0;  // bytes
    std::uint64_t remaining = 0;
    std::optional<Error> failure = std::nullopt;
};

// All that can fail for want of memory: throws bad_alloc, and then nothing has changed.
void SpaceState::begin_removal(Interval* intervals, Removal& removal) {
    removal.company = company();
    if (removal.company->some_leave) removal.leaving = leaving_sinks();
    if (iovas_) iovas_->reserve(taken());
    for (const Interval* interval = intervals; interval; interval = interval->next)
        if (interval->is_cut) readers_->cut(*interval);
    if (dirty_) removal.last = prepare_last_bits(intervals);
    removal.intervals = intervals;
    for (Interval* interval = intervals; interval; interval = interval->next)
        interval->phase = Phase::unmapping;
    if (dirty_) wait_for_dirty_reads(intervals);
}

// Takes it out of the sinks. Returns the phase that it gets, should that have failed.
Phase SpaceState::take_out(Interval& interval, const Removal& removal) noexcept {
    bool untouched = interval.granule == 0;  // of several pieces, some may be gone
    interval.failure.reset();
    const auto from = [&](const SinkPointer& sink) {
        auto error = remove_from(*sink, interval.range);
        if (!error) return untouched = false;
        interval.failure = std::move(error);
        // A refusal before anything was done leaves the mapping as it was.
        return untouched && (interval.failure->code() == EBUSY || interval.failure->code() == EDEADLK);
    };
    for (const SinkPointer& sink : removal.company->sinks | std::views::reverse)
        if (from(sink)) return Phase::settled;
    for (const SinkPointer& sink : removal.leaving)
        if (from(sink)) return Phase::settled;
    return Phase::stuck;
}

void SpaceState::remove(Removal& removal) noexcept {
    if (removal.last.plan) read_last_bits(removal.last, removal.intervals, DirtyFrom::page_tables);
    for (Interval* interval = removal.intervals; interval; interval = interval->next)
        interval->then = take_out(*interval, removal);
    if (removal.last.plan) read_last_bits(removal.last, removal.intervals, DirtyFrom::devices);

    Intervals::Map gone;
    Intervals::Map::node_type one;  // mostly it is all
    {
        const sys::Lock lock(mutex_);
        if (removal.last.plan) end_last_bits();
        for (Interval* next = removal.intervals; next;) {
            Interval& interval = *std::exchange(next, next->next);
            if (!interval.failure) {
                removal.removed += interval.length();
                readers_->erase(interval);
                if (interval.holds_iovas) iovas_->give_back(interval.with_guards());
                if (one) gone.insert(gone.end(), std::move(one));
                one = intervals_.all().extract(interval.range.first);
                continue;
            }
            removal.remaining += interval.length();
            removal.failure = interval.failure;
            interval.phase = interval.then;
            if (interval.phase == Phase::stuck) readers_->hide(interval);
            // A live Mapping tries again itself.
            if (interval.owner == 0 && interval.phase == Phase::stuck) interval.abandoned = true;
            if (interval.abandoned) has_abandoned_ = true;
        }
        changed_.notify_all();
        if (!readers_->any()) return readers_->free_unlinked();
        if (one) gone.insert(gone.end(), std::move(one));
        auto retired = std::unique_ptr<Readers::Retired>(new (std::nothrow) Readers::Retired);
        if (retired) retired->intervals.swap(gone);
        readers_->retire(std::move(retired));
    }
    // Without memory to keep it for the readers, it stays here until they have gone.
    if (!gone.empty()) (void)readers_->wait_for_readers(std::nullopt);
}

Result<std::uint64_t> SpaceState::unmap(Range range, std::uint64_t owner, Deadline deadline) {
    return probes::watched(
        iommufd_unmap_semaphore, [&] { return unmap_unwatched(range, owner, deadline); },
        [&](const auto& result, std::int64_t ns) {
            probes::unmap(id_, range.first.value, result ? *result : range.length(), probes::code_of(result),
                          ns);
        });
}

Result<std::uint64_t> SpaceState::unmap_unwatched(Range range, std::uint64_t owner, Deadline deadline) {
    return guarded(Operation::ioas_unmap, [&]() -> Result<std::uint64_t> {
        if (const std::string* const label = readers_->held_by_this_thread())
            return Error::refused(
                EDEADLK, compose("cannot unmap ", Hex{range.first.value}, "+", Hex{range.length()}),
                compose("this thread holds a guard of reader '", *label, "'"), "let go of the guard first");
        Removal removal;
        {
            const sys::Lock lock(mutex_);
            auto found = intervals_.select(range, owner);
            if (!found) return found.error();
            begin_removal(*found, removal);
        }
        remove(removal);
        if (!removal.failure) retry_abandoned();
        auto unseen = readers_->wait_for_readers(deadline);
        readers_->reclaim();
        if (removal.failure)
            return removal.failure->within(
                compose("of ", Hex{range.first.value}, "+", Hex{range.length()}, " in '", id_, "' ",
                        Hex{removal.removed}, " bytes are unmapped and ", Hex{removal.remaining}, " remain"));
        if (!unseen) return unseen.error();
        return removal.removed;
    });
}

void SpaceState::leave(std::uint64_t ticket, Range range) noexcept {
    const sys::Lock lock(mutex_);
    intervals_.each_in(range, [&](Interval& interval) {
        if (interval.owner == ticket) interval.owner = 0;
    });
}

void SpaceState::abandon(Interval& interval, const Error& why) noexcept {
    interval.abandoned = true;
    interval.failure = why;
    has_abandoned_ = true;
}

// The ticket's intervals, chained, when nobody does anything with them any more.
Interval* SpaceState::wait_for_own(std::uint64_t ticket, Range range) noexcept {
    for (;;) {
        Interval* own = nullptr;
        bool busy = false;
        intervals_.each_in(range, [&](Interval& interval) {
            if (interval.owner != ticket) return;
            interval.next = std::exchange(own, &interval);
            busy = busy || interval.is_busy();
        });
        if (!busy) return own;
        changed_.wait(mutex_);
    }
}

void SpaceState::abandon(std::uint64_t ticket, Range range) noexcept {
    Removal removal;
    const auto begun = guarded(Operation::ioas_unmap, [&]() -> Result<void> {
        const sys::Lock lock(mutex_);
        Interval* const own = wait_for_own(ticket, range);
        for (Interval* interval = own; interval; interval = interval->next) {
            interval->owner = 0;
            interval->abandoned = true;
            interval->failure = Error(Operation::ioas_unmap, ENOMEM);  // until there is another reason
        }
        if (own) begin_removal(own, removal);
        return {};
    });
    if (!begun) has_abandoned_ = true;
    if (removal.intervals)
        probes::watched(
            iommufd_unmap_semaphore, [&] { return remove(removal), !removal.failure; },
            [&](bool, std::int64_t ns) {
                probes::unmap(id_, range.first.value, range.length(),
                              removal.failure ? removal.failure->code() : 0, ns);
            });
    if (!begun || removal.failure)
        if (auto left = abandoned_in(range)) report(Severity::error, *std::move(left));
    // Who holds a guard must not wait for it: the memory then goes with a later change.
    if (!readers_->held_by_this_thread()) (void)readers_->wait_for_readers(std::nullopt);
    readers_->reclaim();
}

std::optional<Error> SpaceState::abandoned_in(Range range) noexcept {
    std::optional<Error> error;
    const sys::Lock lock(mutex_);
    intervals_.each_in(range, [&](const Interval& interval) {
        if (error || !interval.waits_for_retry()) return;
        error = failed(interval.failure->operation(), interval.failure->code(), [&] {
            return compose("cannot unmap ", interval.describe(), " in '", id_, "' for now");
        });
    });
    return error;
}

// What is in flight or being replayed just now is left to who has it there.
void SpaceState::retry_abandoned() noexcept {
    if (!has_abandoned_) return;
    Removal removal;
    const auto begun = guarded(Operation::ioas_unmap, [&]() -> Result<void> {
        const sys::Lock lock(mutex_);
        Interval* found = nullptr;
        bool more = false;
        for (auto& [first, interval] : intervals_.all()) {
            if (!interval.abandoned) continue;
            if (interval.waits_for_retry())
                interval.next = std::exchange(found, &interval);
            else
                more = true;
        }
        has_abandoned_ = more;
        if (found) begin_removal(found, removal);
        return {};
    });
    if (!begun) has_abandoned_ = true;
    if (removal.intervals) remove(removal);
}

}  // namespace iommufd::inline v0_1::dma
