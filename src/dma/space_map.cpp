// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// map of a Space.
#include <algorithm>
#include <cerrno>
#include <ranges>

#include "dma/sink_calls.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// What a failure left behind, added to the failure.
Error and_remains(const Error& error, const Interval& interval, const Sink& sink,
                  const Error& remains) noexcept {
    try {
        return Error::refused(error.code(), compose(error.what(), ": ", errno_name(error.code())),
                              compose(interval.describe(), " could not be taken back from ", sink.describe(),
                                      " (", errno_name(remains.code()), ") and stays reserved"),
                              "it is unmapped by a later change of the space: see not_released()");
    } catch (const std::bad_alloc&) {
        return error;
    }
}

// Maps the interval into every sink, or into none; `remains`: why it can't be taken back from one.
Result<void> map_into(std::span<const std::shared_ptr<Sink>> sinks, const Interval& interval,
                      std::optional<Error>& remains) noexcept {
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
        if (auto error = remove_from(*sink, interval.range)) {
            failure = and_remains(*failure, interval, *sink, *error);
            remains = std::move(error);
        }
    return *failure;
}

}  // namespace

std::vector<Bound> SpaceState::bounds() const {
    std::vector<Bound> bounds;
    bounds.reserve(sinks_.size() + devices_.size());
    for (const Joined& joined : sinks_)
        if (!joined.leaving) bounds.push_back(joined.bound);
    for (const Device& device : devices_) bounds.push_back(device.bound);
    return bounds;
}

// Throws bad_alloc.
const std::shared_ptr<const SpaceState::Company>& SpaceState::company() const {
    if (company_) return company_;
    auto made = std::make_shared<Company>();
    const std::vector<Bound> all = bounds();
    made->ranges = common_ranges(all);
    made->alignment = page_size_;
    for (const Bound& bound : all) made->alignment = std::max(made->alignment, bound.alignment);
    for (const Joined& joined : sinks_) {
        made->some_leave |= joined.leaving;
        if (!joined.leaving) made->sinks.push_back(joined.sink.lock());
    }
    return company_ = std::move(made);
}

SpaceState::SinkPointers SpaceState::leaving_sinks() const {
    SinkPointers pointers;
    for (const Joined& joined : sinks_)
        if (auto sink = joined.sink.lock(); sink && joined.leaving) pointers.push_back(std::move(sink));
    return pointers;
}

Result<Interval> SpaceState::plan(const std::shared_ptr<const Memory::Node>& memory,
                                  const MapOptions& options, const Company& company) const {
    const auto refuse = [&](int code, std::string cause, std::string next_step) {
        return Error::refused(code, compose("cannot map '", memory->label(), "' in '", id_, "'"),
                              std::move(cause), std::move(next_step));
    };
    const std::uint64_t length = options.length != 0 ? options.length : memory->size() - options.offset;
    if (options.offset >= memory->size() || length > memory->size() - options.offset)
        return refuse(
            EINVAL,
            compose(Hex{options.offset}, "+", Hex{length}, " is not within its ", size_text(memory->size())),
            "give an offset and a length within the memory");
    if (may_write(options.access) && memory->is_read_only())
        return refuse(EACCES, "devices are to write to it, but it is read-only", "map it readonly");

    const std::uint64_t alignment = company.alignment;
    const auto is_aligned = [&](std::uint64_t value) { return (value & (alignment - 1)) == 0; };
    // (A dma-buf is aligned as its offset is.)
    const auto address = reinterpret_cast<std::uintptr_t>(memory->data()) + options.offset;
    // A caller knows the offset, and may not know the address.
    const bool by_offset = !is_aligned(address) && !is_aligned(options.offset);
    const std::uint64_t wanted = options.iova.value_or(Iova{0}).value;
    if (!is_aligned(address | length | options.granule | wanted))
        for (const auto& [value, what] :
             {std::pair(by_offset ? options.offset : address, by_offset ? "offset" : "address"),
              std::pair(length, "size"), std::pair(options.granule, "granule"), std::pair(wanted, "IOVA")})
            if (!is_aligned(value))
                return refuse(
                    EINVAL,
                    compose("its ", what, " ", Hex{value}, " is no multiple of ", size_text(alignment)),
                    "align address, offset, IOVA and size to that");

    std::optional<Iova> iova = options.iova;
    if (!iova) iova = choose_iova(intervals_, company.ranges, length, address, alignment);
    if (!iova)
        return refuse(ENOSPC,
                      compose("no ", size_text(length), " of IOVAs are free that every device reaches"),
                      "unmap something, or detach the device that reaches least");
    const auto range = Range::of(*iova, length);
    if (!range)
        return refuse(EOVERFLOW,
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
    const auto holds = [&](const Range& allowed) { return allowed.contains(*range); };
    if (std::ranges::none_of(company.ranges, holds))
        if (auto within = check_bounds(bounds(), interval); !within) return within.error();
    return interval;
}

Result<SpaceState::Mapped> SpaceState::map(const std::shared_ptr<const Memory::Node>& memory,
                                           const MapOptions& options) {
    retry_abandoned();
    return guarded(Operation::ioas_map, [&]() -> Result<Mapped> {
        std::shared_ptr<const Company> company;
        Interval* interval = nullptr;
        {
            const sys::Lock lock(mutex_);
            company = this->company();
            auto planned = plan(memory, options, *company);
            if (!planned) return planned.error();
            planned->owner = next_ticket_++;
            auto reserved = intervals_.reserve(std::move(*planned));
            if (!reserved) return reserved.error();
            interval = *reserved;
            const bool tracks = dirty_ != nullptr;
            if (auto room = guarded(Operation::ioas_map,
                                    [&]() -> Result<void> {
                                        if (tracks) readers_->marks().cover(interval->range);
                                        return readers_->insert(*interval), Result<void>();
                                    });
                !room) {
                intervals_.drop(*interval);
                return room.error();
            }
        }
        std::optional<Error> remains;
        Result<void> mapped;
        if (memory->is_dma_buf())
            for (const SinkPointer& sink : company->sinks) offer(*sink, *interval);
        else
            mapped = map_into(company->sinks, *interval, remains);
        const Mapped result{.ticket = interval->owner, .range = interval->range};
        {
            const sys::Lock lock(mutex_);
            if (mapped) {
                interval->phase = Phase::settled;
                readers_->show(*interval);
            } else {
                interval->owner = 0;
                interval->phase = Phase::stuck;
                if (remains) {
                    abandon(*interval, *remains);
                } else {
                    readers_->erase(*interval);
                    intervals_.drop(*interval);
                }
            }
            changed_.notify_all();
        }
        readers_->reclaim();
        if (!mapped) return mapped.error();
        return result;
    });
}

}  // namespace iommufd::inline v0_1::dma
