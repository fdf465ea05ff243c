// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// map of a Space.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "dma/loan.hpp"
#include "dma/map_into.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::uint64_t kSmallestPart = 64_MiB;
constexpr std::uint64_t kLargestPart = 1_GiB;
constexpr std::uint64_t kHugestPart = std::uint64_t{1} << 62;
constexpr std::uint64_t kPartsPerThread = 8;  // so that threads end together

std::uint64_t part_of(const BringUp& how, std::uint64_t length, std::uint64_t alignment) {
    const std::uint64_t part =
        how.part != 0
            ? std::clamp(how.part, alignment, kHugestPart)
            : std::clamp(length / (std::max(how.threads, 1U) * kPartsPerThread), kSmallestPart, kLargestPart);
    return std::bit_ceil(part);
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
    Limits limits{.ranges = common_ranges(all), .alignment = page_size_};
    for (const Bound& bound : all) limits.alignment = std::max(limits.alignment, bound.alignment);
    made->limits = std::make_shared<const Limits>(std::move(limits));
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

Result<void> SpaceState::plan(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options,
                              const Company& company, Interval& interval) {
    if (options.guard != 0 || options.within.space_)
        if (auto checked = check_iova_options(options); !checked) return checked.error();
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

    const std::uint64_t alignment = company.limits->alignment;
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

    const std::uint64_t guard = round_up(options.guard, alignment);
    std::optional<Iova> iova = options.iova;
    if (!iova)
        if (const auto chosen =
                choose({.length = length, .alignment = alignment, .address = address, .guard = guard}))
            iova = chosen->first;
    if (!iova)
        return refuse(ENOSPC,
                      compose("no ", size_text(length), " of IOVAs are free that every device reaches"),
                      "unmap something, or detach the device that reaches least");
    const auto range = Range::of(*iova, length);
    if (!range)
        return refuse(EOVERFLOW,
                      compose(Hex{iova->value}, "+", Hex{length}, " passes the end of all addresses"),
                      "choose a lower IOVA or a smaller size");
    interval.range = *range;
    interval.generation = generation_;
    interval.holds_iovas = !options.iova;
    interval.guard_before = guard;
    interval.guard_after = guard;
    const auto holds = [&](const Range& allowed) { return allowed.contains(*range); };
    if (std::ranges::none_of(company.limits->ranges, holds))
        if (auto within = check_bounds(bounds(), interval); !within) return within.error();
    return {};
}

// All else that it needs before the kernel is asked; drop() undoes it.
Result<void> SpaceState::make_room(Interval& interval, const MapOptions& options) noexcept {
    try {
        if (iovas_ && !interval.holds_iovas)
            if (auto claimed = claim(interval, options); !claimed) return claimed;
        if (dirty_) readers_->marks().cover(interval.range);
        readers_->insert(interval);
        return {};
    } catch (const std::bad_alloc&) {
        return Error(Operation::ioas_map, ENOMEM);
    }
}

void SpaceState::drop(const Interval& interval) noexcept {
    if (interval.holds_iovas) iovas_->give_back(interval.with_guards());
    intervals_.drop(interval);
}

Result<SpaceState::Mapped> SpaceState::map(const std::shared_ptr<const Memory::Node>& memory,
                                           const MapOptions& options, const BringUp* how) {
    retry_abandoned();
    const Loan loan = options.pinned_by ? options.pinned_by->state()->lend(memory, options) : Loan();
    return guarded(Operation::ioas_map, [&]() -> Result<Mapped> {
        std::shared_ptr<const Company> company;
        Interval* interval = nullptr;
        {
            const sys::Lock lock(mutex_);
            if (auto thawed = check_thawed("map"); !thawed) return thawed.error();
            company = this->company();
            Interval planned{.range = {},
                             .memory = memory,
                             .offset = options.offset,
                             .access = options.access,
                             .granule = options.granule,
                             .owner = next_ticket_++,
                             .generation = 0,
                             .phase = Phase::mapping};
            if (auto fits = plan(memory, options, *company, planned); !fits) return fits.error();
            if (how) planned.part = part_of(*how, planned.length(), company->limits->alignment);
            const bool chosen = planned.holds_iovas;
            const Range with_guards = planned.with_guards();
            auto reserved = intervals_.reserve(std::move(planned));
            if (!reserved) {
                if (chosen) iovas_->give_back(with_guards);
                return reserved.error();
            }
            interval = *reserved;
            if (auto room = make_room(*interval, options); !room) {
                drop(*interval);
                return room.error();
            }
        }
        std::optional<Error> remains;
        Result<void> mapped;
        if (memory->is_dma_buf())
            for (const SinkPointer& sink : company->sinks) offer(*sink, *interval);
        else
            mapped = how ? map_into(company->sinks, *interval, loan.pinned(), remains, *how)
                         : map_into(company->sinks, *interval, loan.pinned(), remains);
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
                    drop(*interval);
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
