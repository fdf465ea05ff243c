// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// map and unmap of a Space.
#include <algorithm>
#include <cerrno>
#include <ranges>

#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// A sink's call in which memory may run out as well.
template <class Call>
auto ask(Call&& call) noexcept {
    return guarded(Operation::ioas_map, std::forward<Call>(call));
}

// Takes the interval out of a sink, as far as it is in there. Nothing there is what we want.
std::optional<Error> remove_from(Sink& sink, Range range) noexcept {
    auto unmapped = ask([&] { return sink.unmap(range); });
    if (unmapped || unmapped.error().code() == ENOENT) return std::nullopt;
    return unmapped.error();
}

// What a failure left behind, added to the failure.
Error and_remains(const Error& error, const Interval& interval, const Sink& sink,
                  const Error& remains) noexcept {
    try {
        return Error::refused(error.code(), compose(error.what(), ": ", errno_name(error.code())),
                              compose(interval.describe(), " could not be taken back from ", sink.describe(),
                                      " (", errno_name(remains.code()), ") and stays reserved"),
                              "unmap it again: see not_released()");
    } catch (const std::bad_alloc&) {
        return error;
    }
}

// Maps the interval into every sink, or into none; `stuck` if it can't be taken back from one.
Result<void> map_into(std::span<const std::shared_ptr<Sink>> sinks, const Interval& interval,
                      bool& stuck) noexcept {
    std::optional<Error> failure;
    const auto succeeds = [&](Result<void> result) {
        if (!result) failure = std::move(result).error();
        return !failure;
    };
    for (const auto& sink : sinks)
        if (!interval.each_piece(
                [&](const Piece& piece) { return succeeds(ask([&] { return sink->check(piece); })); }))
            return *failure;

    std::size_t reached = 0;
    for (const auto& sink : sinks) {
        ++reached;
        if (!interval.each_piece(
                [&](const Piece& piece) { return succeeds(ask([&] { return sink->map(piece); })); }))
            break;
    }
    if (!failure) return {};
    for (const auto& sink : sinks.first(reached) | std::views::reverse)
        if (const auto remains = remove_from(*sink, interval.range)) {
            stuck = true;
            failure = and_remains(*failure, interval, *sink, *remains);
        }
    return *failure;
}

Error cannot_map(std::string_view what, int code, std::string cause, std::string next_step) {
    return Error::refused(code, compose("cannot map ", what), std::move(cause), std::move(next_step));
}

}  // namespace

std::vector<Bound> SpaceState::bounds() const {
    std::vector<Bound> bounds;
    bounds.reserve(sinks_.size() + devices_.size());
    for (const Joined& joined : sinks_) bounds.push_back(joined.bound);
    for (const Device& device : devices_) bounds.push_back(device.bound);
    return bounds;
}

std::vector<SpaceState::SinkPointer> SpaceState::sink_pointers() const {
    std::vector<SinkPointer> pointers;
    pointers.reserve(sinks_.size());
    for (const Joined& joined : sinks_) pointers.push_back(joined.sink);
    return pointers;
}

// Room for all intervals there are, and for those that the operations in flight may add: one by a map, two by
// an unmap that cuts at both ends.
void SpaceState::prepare_publish() {
    spare_.push_back(std::make_unique<Translation>());
    try {
        const std::size_t entries = intervals_.all().size() + 2 * spare_.size();
        for (const auto& spare : spare_) spare->reserve(entries);
    } catch (...) {
        spare_.pop_back();
        throw;
    }
}

void SpaceState::publish(std::vector<std::shared_ptr<const void>> keep) noexcept {
    auto next = std::move(spare_.back());
    spare_.pop_back();
    for (const auto& [first, interval] : intervals_.all())
        if (interval.phase != Phase::mapping && interval.phase != Phase::stuck)
            next->add({.range = interval.range,
                       .address = interval.memory->data() + interval.offset,
                       .access = interval.access});
    next->finish();
    readers_->publish(std::move(next), std::move(keep));
}

Result<Interval> SpaceState::plan(const std::shared_ptr<const Memory::Node>& memory,
                                  const MapOptions& options) const {
    const std::string name = compose("'", memory->label(), "' in '", id_, "'");
    const std::uint64_t length = options.length != 0 ? options.length : memory->size() - options.offset;
    if (options.offset >= memory->size() || length > memory->size() - options.offset)
        return cannot_map(
            name, EINVAL,
            compose(Hex{options.offset}, "+", Hex{length}, " is not within its ", size_text(memory->size())),
            "give an offset and a length within the memory");
    if (may_write(options.access) && memory->is_read_only())
        return cannot_map(name, EACCES, "devices are to write to it, but it is read-only", "map it readonly");

    const std::vector<Bound> all = bounds();
    std::uint64_t alignment = page_size_;
    for (const Bound& bound : all) alignment = std::max(alignment, bound.alignment);
    const auto address = reinterpret_cast<std::uintptr_t>(memory->data()) + options.offset;
    // A caller knows the offset, and may not know the address.
    const bool by_offset = address % alignment != 0 && options.offset % alignment != 0;
    for (const auto& [value, what] :
         {std::pair(by_offset ? options.offset : address, by_offset ? "offset" : "address"),
          std::pair(length, "size"), std::pair(options.granule, "granule"),
          std::pair(options.iova.value_or(Iova{0}).value, "IOVA")})
        if (value % alignment != 0)
            return cannot_map(
                name, EINVAL,
                compose("its ", what, " ", Hex{value}, " is no multiple of ", size_text(alignment)),
                "align address, offset, IOVA and size to that");

    std::optional<Iova> iova = options.iova;
    if (!iova) iova = choose_iova(intervals_, common_ranges(all), length, address, alignment);
    if (!iova)
        return cannot_map(name, ENOSPC,
                          compose("no ", size_text(length), " of IOVAs are free that every device reaches"),
                          "unmap something, or detach the device that reaches least");
    const auto range = Range::of(*iova, length);
    if (!range)
        return cannot_map(name, EOVERFLOW,
                          compose(Hex{iova->value}, "+", Hex{length}, " passes the end of all addresses"),
                          "choose a lower IOVA or a smaller size");
    Interval interval{.range = *range,
                      .memory = memory,
                      .offset = options.offset,
                      .access = options.access,
                      .granule = options.granule,
                      .owner = 0,
                      .generation = generation_,
                      .phase = Phase::mapping};
    if (auto within = check_bounds(all, *range, interval.describe()); !within) return within.error();
    return interval;
}

Result<SpaceState::Mapped> SpaceState::map(const std::shared_ptr<const Memory::Node>& memory,
                                           const MapOptions& options) {
    return guarded(Operation::ioas_map, [&]() -> Result<Mapped> {
        std::vector<SinkPointer> sinks;
        Interval* interval = nullptr;
        {
            const sys::Lock lock(mutex_);
            sinks = sink_pointers();
            auto planned = plan(memory, options);
            if (!planned) return planned.error();
            planned->owner = next_ticket_++;
            prepare_publish();
            auto reserved = intervals_.reserve(std::move(*planned));
            if (!reserved) {
                spare_.pop_back();
                return reserved.error();
            }
            interval = *reserved;
        }
        bool stuck = false;
        auto mapped = map_into(sinks, *interval, stuck);
        const Mapped result{.ticket = interval->owner, .range = interval->range};
        {
            const sys::Lock lock(mutex_);
            if (mapped) {
                interval->phase = Phase::settled;
                publish({});
            } else {
                spare_.pop_back();
                interval->owner = 0;
                interval->phase = Phase::stuck;
                if (!stuck) intervals_.drop(*interval);
            }
            changed_.notify_all();
        }
        readers_->reclaim();
        if (!mapped) return mapped.error();
        return result;
    });
}

Result<std::uint64_t> SpaceState::unmap(Range range, std::uint64_t owner, Deadline deadline) {
    return guarded(Operation::ioas_unmap, [&]() -> Result<std::uint64_t> {
        if (const std::string* const label = readers_->held_by_this_thread())
            return Error::refused(
                EDEADLK, compose("cannot unmap ", Hex{range.first.value}, "+", Hex{range.length()}),
                compose("this thread holds a guard of reader '", *label, "'"), "let go of the guard first");
        std::vector<SinkPointer> sinks;
        std::vector<Interval*> selected;
        std::vector<Phase> phases;  // that they get
        std::vector<std::shared_ptr<const void>> keep;
        {
            const sys::Lock lock(mutex_);
            sinks = sink_pointers();
            prepare_publish();
            auto found = intervals_.select(range, owner);
            const bool ready = found && guarded(Operation::ioas_unmap, [&]() -> Result<void> {
                                   phases.assign(found->size(), Phase::unmapping);
                                   keep.reserve(found->size());
                                   return {};
                               });
            if (!ready) {
                spare_.pop_back();
                return found ? Error(Operation::ioas_unmap, ENOMEM) : found.error();
            }
            selected = std::move(*found);
            for (Interval* const interval : selected) interval->phase = Phase::unmapping;
        }

        std::optional<Error> failure;
        for (std::size_t i = 0; i < selected.size(); ++i) {
            bool untouched = true;
            for (const SinkPointer& sink : sinks | std::views::reverse) {
                const auto error = remove_from(*sink, selected[i]->range);
                if (!error) {
                    untouched = false;
                    continue;
                }
                failure = *error;
                // A refusal before anything was done leaves the mapping as it was.
                const bool refused = untouched && (error->code() == EBUSY || error->code() == EDEADLK);
                phases[i] = refused ? Phase::settled : Phase::stuck;
                if (refused) break;
            }
        }

        std::uint64_t bytes = 0;
        std::uint64_t remain = 0;
        {
            const sys::Lock lock(mutex_);
            for (std::size_t i = 0; i < selected.size(); ++i) {
                Interval& interval = *selected[i];
                if (phases[i] == Phase::unmapping) {
                    bytes += interval.length();
                    keep.push_back(std::move(interval.memory));
                    intervals_.drop(interval);
                } else {
                    remain += interval.length();
                    interval.phase = phases[i];
                }
            }
            publish(std::move(keep));
            changed_.notify_all();
        }
        auto unseen = readers_->wait_for_readers(deadline);
        readers_->reclaim();
        if (failure)
            return failure->within(compose("of ", Hex{range.first.value}, "+", Hex{range.length()}, " in '",
                                           id_, "' ", Hex{bytes}, " bytes are unmapped and ", Hex{remain},
                                           " remain"));
        if (!unseen) return unseen.error();
        return bytes;
    });
}

void SpaceState::leave(std::uint64_t ticket, Range range) noexcept {
    const sys::Lock lock(mutex_);
    for (auto it = intervals_.at_or_after(range.first);
         it != intervals_.all().end() && it->second.range.first <= range.last; ++it)
        if (it->second.owner == ticket) it->second.owner = 0;
}

}  // namespace iommufd::inline v0_1::dma
