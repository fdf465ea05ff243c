// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// unmap of a Space, and what becomes of that which can't be unmapped.
#include <algorithm>
#include <cerrno>
#include <ranges>

#include "dma/sink_calls.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"

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
    struct Entry {
        Interval* interval;
        std::optional<Error> failure;
        Phase then = Phase::stuck;  // after a failure
    };
    SinkPointers sinks;
    std::vector<Entry> entries;
    std::uint64_t removed = 0;  // bytes
    std::uint64_t remaining = 0;

    const Error* failure() const noexcept {
        const auto failed =
            std::ranges::find_if(entries, [](const Entry& entry) { return entry.failure.has_value(); });
        return failed == entries.end() ? nullptr : &*failed->failure;
    }
};

SpaceState::SinkPointers SpaceState::sinks_that_take_unmaps() const {
    SinkPointers pointers;
    pointers.reserve(sinks_.size());
    for (const Joined& joined : sinks_)
        if (auto sink = joined.sink.lock()) pointers.push_back(std::move(sink));
    return pointers;
}

// All that can fail for want of memory: throws bad_alloc, and then nothing has changed.
SpaceState::Removal SpaceState::begin_removal(std::span<Interval* const> intervals) {
    Removal removal;
    removal.sinks = sinks_that_take_unmaps();
    for (Interval* const interval : intervals)
        removal.entries.push_back({.interval = interval, .failure = std::nullopt});
    for (const Interval* const interval : intervals)
        if (interval->is_cut) readers_->cut(*interval);
    for (Interval* const interval : intervals) interval->phase = Phase::unmapping;
    return removal;
}

void SpaceState::remove(Removal& removal) noexcept {
    for (Removal::Entry& entry : removal.entries) {
        bool untouched = entry.interval->granule == 0;  // of several pieces, some may be gone
        for (const SinkPointer& sink : removal.sinks | std::views::reverse) {
            auto error = remove_from(*sink, entry.interval->range);
            if (!error) {
                untouched = false;
                continue;
            }
            // A refusal before anything was done leaves the mapping as it was.
            const bool refused = untouched && (error->code() == EBUSY || error->code() == EDEADLK);
            entry.failure = std::move(error);
            if (refused) {
                entry.then = Phase::settled;
                break;
            }
        }
    }

    Intervals::Map gone;
    {
        const sys::Lock lock(mutex_);
        for (Removal::Entry& entry : removal.entries) {
            Interval& interval = *entry.interval;
            if (!entry.failure) {
                removal.removed += interval.length();
                readers_->erase(interval);
                gone.insert(intervals_.all().extract(interval.range.first));
                continue;
            }
            removal.remaining += interval.length();
            interval.phase = entry.then;
            if (interval.phase == Phase::stuck) readers_->hide(interval);
            // A live Mapping tries again itself.
            if (interval.abandoned || (interval.owner == 0 && interval.phase == Phase::stuck))
                abandon(interval, *entry.failure);
        }
        changed_.notify_all();
        if (!readers_->any()) return readers_->free_unlinked();
        auto retired = std::unique_ptr<Readers::Retired>(new (std::nothrow) Readers::Retired);
        if (retired) retired->intervals.swap(gone);
        readers_->retire(std::move(retired));
    }
    // Without memory to keep it for the readers, it stays here until they have gone.
    if (!gone.empty()) (void)readers_->wait_for_readers(std::nullopt);
}

Result<std::uint64_t> SpaceState::unmap(Range range, std::uint64_t owner, Deadline deadline) {
    return guarded(Operation::ioas_unmap, [&]() -> Result<std::uint64_t> {
        if (const std::string* const label = readers_->held_by_this_thread())
            return Error::refused(
                EDEADLK, compose("cannot unmap ", Hex{range.first.value}, "+", Hex{range.length()}),
                compose("this thread holds a guard of reader '", *label, "'"), "let go of the guard first");
        std::optional<Removal> removal;
        {
            const sys::Lock lock(mutex_);
            auto found = intervals_.select(range, owner);
            if (!found) return found.error();
            removal = begin_removal(*found);
        }
        remove(*removal);
        if (!removal->failure()) retry_abandoned();
        auto unseen = readers_->wait_for_readers(deadline);
        readers_->reclaim();
        if (const Error* const failure = removal->failure())
            return failure->within(compose("of ", Hex{range.first.value}, "+", Hex{range.length()}, " in '",
                                           id_, "' ", Hex{removal->removed}, " bytes are unmapped and ",
                                           Hex{removal->remaining}, " remain"));
        if (!unseen) return unseen.error();
        return removal->removed;
    });
}

void SpaceState::leave(std::uint64_t ticket, Range range) noexcept {
    const sys::Lock lock(mutex_);
    for (auto it = intervals_.at_or_after(range.first);
         it != intervals_.all().end() && it->second.range.first <= range.last; ++it)
        if (it->second.owner == ticket) it->second.owner = 0;
}

void SpaceState::abandon(Interval& interval, const Error& why) noexcept {
    interval.abandoned = true;
    interval.failed = why.operation();
    interval.code = why.code();
    has_abandoned_ = true;
}

void SpaceState::abandon(std::uint64_t ticket, Range range) noexcept {
    {
        const sys::Lock lock(mutex_);
        for (auto it = intervals_.at_or_after(range.first);
             it != intervals_.all().end() && it->second.range.first <= range.last; ++it) {
            if (it->second.owner != ticket) continue;
            it->second.owner = 0;
            abandon(it->second, Error(Operation::ioas_unmap, ENOMEM));  // until there is another reason
        }
    }
    retry_abandoned();
    if (auto left = abandoned_in(range)) report(Severity::error, *std::move(left));
    // Who holds a guard must not wait for it: the memory then goes with a later change.
    if (!readers_->held_by_this_thread()) (void)readers_->wait_for_readers(std::nullopt);
    readers_->reclaim();
}

std::optional<Error> SpaceState::abandoned_in(Range range) const noexcept {
    const sys::Lock lock(mutex_);
    for (const auto& entry : intervals_.all()) {
        const Interval& interval = entry.second;
        if (interval.range.overlaps(range) && interval.waits_for_retry())
            return failed(interval.failed, interval.code, [&] {
                return compose("cannot unmap ", interval.describe(), " in '", id_, "' for now");
            });
    }
    return std::nullopt;
}

// What is in flight or being replayed just now is left to who has it there.
void SpaceState::retry_abandoned() noexcept {
    if (!has_abandoned_) return;
    std::optional<Removal> removal;
    const auto begun = guarded(Operation::ioas_unmap, [&]() -> Result<void> {
        const sys::Lock lock(mutex_);
        std::vector<Interval*> found;
        bool more = false;
        for (auto& [first, interval] : intervals_.all()) {
            if (!interval.abandoned) continue;
            if (interval.waits_for_retry())
                found.push_back(&interval);
            else
                more = true;
        }
        has_abandoned_ = more;
        if (!found.empty()) removal = begin_removal(found);
        return {};
    });
    if (!begun) has_abandoned_ = true;
    if (removal) remove(*removal);
}

}  // namespace iommufd::inline v0_1::dma
