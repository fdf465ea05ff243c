// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The IOVAs of a Space: chosen, claimed, reserved, and with caches.
#include <algorithm>
#include <cerrno>

#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

std::string text(Range range) { return compose(Hex{range.first.value}, "+", Hex{range.length()}); }

// How many ranges a cache gets at once.
constexpr std::size_t kRefill = 32;

}  // namespace

// Up to date with who is attached. Throws bad_alloc.
IovaAllocator& SpaceState::iovas() {
    const auto& limits = company()->limits;
    if (!iovas_) {
        auto made = std::make_unique<IovaAllocator>();
        made->reserve(taken());
        for (auto& [first, interval] : intervals_.all()) interval.holds_iovas = made->take(interval.range);
        iovas_ = std::move(made);
    }
    if (iova_limits_ != limits) {
        iovas_->allow(limits->ranges);
        iova_limits_ = limits;
    }
    return *iovas_;
}

// The ranges that may be given back one by one.
std::size_t SpaceState::taken() const noexcept {
    return intervals_.all().size() + reservations_.size() + cached_;
}

// Takes it. Throws bad_alloc.
std::optional<Range> SpaceState::choose(const IovaAllocator::Wanted& wanted) {
    IovaAllocator& iovas = this->iovas();
    iovas.reserve(taken() + 1);
    if (auto chosen = iovas.alloc(wanted)) return chosen;
    recall_iovas();
    return iovas.alloc(wanted);
}

bool SpaceState::take(Range range) noexcept {
    if (iovas_->take(range)) return true;
    recall_iovas();
    return iovas_->take(range);
}

// Nothing, where no cache was ever made.
void SpaceState::recall_iovas() noexcept {
    cached_ -= caches_.recall([iovas = iovas_.get()](Range range) { iovas->give_back(range); });
}

// What is reached has changed, or is about to: what caches have may lie beyond it.
void SpaceState::change_company() noexcept {
    company_ = nullptr;
    recall_iovas();
}

Result<void> SpaceState::check_iova_options(const MapOptions& options) const {
    const auto refuse = [&](std::string cause, std::string next_step) {
        return Error::refused(EINVAL, compose("cannot map in '", id_, "'"), std::move(cause),
                              std::move(next_step));
    };
    if (options.guard != 0 && options.iova)
        return refuse("a guard is for an IOVA that the space chooses",
                      "leave out the IOVA, or reserve a range around it");
    if (!options.within.space_) return {};
    if (!options.iova)
        return refuse("within a reservation or a cache's range nothing is chosen", "say which IOVA in it");
    if (options.within.space_ != this)
        return refuse("the reservation or cache is another space's", "use one of this space");
    return {};
}

// For an interval that is in the books already. Throws bad_alloc.
Result<void> SpaceState::claim(Interval& interval, const MapOptions& options) {
    iovas_->reserve(taken());
    if (options.within.space_) return check_within(interval, options.within);
    interval.holds_iovas = take(interval.range);
    if (interval.holds_iovas) return {};
    return Error::refused(EEXIST, compose("cannot map ", interval.describe()), occupant(interval.range),
                          "map it `within` that, if it is yours, or choose another IOVA");
}

Result<void> SpaceState::check_within(const Interval& interval, const Within& within) {
    const auto refuse = [&](std::string cause) {
        return Error::refused(EINVAL, compose("cannot map ", interval.describe()), std::move(cause),
                              "choose an IOVA within it, or leave out `within`");
    };
    if (within.reservation_) {
        if (within.reservation_->range().contains(interval.range)) return {};
        return refuse(compose("it is not all within the reservation ", text(within.reservation_->range())));
    }
    const auto is_reserved = [&](const auto& entry) { return entry.second.range.overlaps(interval.range); };
    if (iovas_->is_taken(interval.range) && std::ranges::none_of(reservations_, is_reserved)) return {};
    return refuse("no IovaCache of the space gave that out");
}

// Who has some of a range that can't be taken.
std::string SpaceState::occupant(Range range) {
    for (const auto& [first, reserved] : reservations_)
        if (reserved.range.overlaps(range))
            return compose("it overlaps ", text(reserved.range), ", reserved as '", reserved.label, "'");
    for (const auto& [first, interval] : intervals_.all()) {
        if (!interval.holds_iovas || !interval.with_guards().overlaps(range)) continue;
        return compose("it overlaps ", interval.range.overlaps(range) ? "" : "the guard of ",
                       interval.describe());
    }
    return "it overlaps what an IovaCache gave out";
}

Result<Range> SpaceState::reserve(Range range, std::string label) {
    retry_abandoned();
    return guarded(Operation::none, [&]() -> Result<Range> {
        std::map<Iova, Reserved> one;
        one.emplace(range.first, Reserved{.range = range, .label = std::move(label)});
        const sys::Lock lock(mutex_);
        iovas().reserve(taken() + 1);
        if (!take(range))
            return Error::refused(EEXIST, compose("cannot reserve ", text(range), " in '", id_, "'"),
                                  occupant(range), "unmap or release that first, or reserve another range");
        reservations_.merge(one);
        return range;
    });
}

Result<Range> SpaceState::reserve(std::uint64_t length, ReserveOptions options) {
    retry_abandoned();
    return guarded(Operation::none, [&]() -> Result<Range> {
        const auto refuse = [&](int code, std::string cause, std::string next_step) {
            return Error::refused(code, compose("cannot reserve ", size_text(length), " in '", id_, "'"),
                                  std::move(cause), std::move(next_step));
        };
        if (length == 0) return refuse(EINVAL, "that is no byte", "give a length");
        if ((options.alignment & (options.alignment - 1)) != 0)
            return refuse(EINVAL, compose("the alignment ", Hex{options.alignment}, " is no power of two"),
                          "give a power of two");
        std::map<Iova, Reserved> one;
        one.emplace(Iova{0}, Reserved{.range = {}, .label = std::move(options.label)});
        const sys::Lock lock(mutex_);
        const std::uint64_t least = company()->limits->alignment;
        const auto chosen = choose({.length = round_up(length, least),
                                    .alignment = std::max(options.alignment, least),
                                    .address = reinterpret_cast<std::uintptr_t>(options.address),
                                    .last = options.last});
        if (!chosen)
            return refuse(ENOSPC, "no such range is free that every device reaches",
                          "release or unmap something, or ask for less");
        auto node = one.extract(one.begin());
        node.key() = chosen->first;
        node.mapped().range = *chosen;
        reservations_.insert(std::move(node));
        return *chosen;
    });
}

void SpaceState::release(Range range) noexcept {
    const sys::Lock lock(mutex_);
    reservations_.erase(range.first);
    Iova from = range.first;
    bool to_end = false;
    intervals_.each_in(range, [&, iovas = iovas_.get()](Interval& interval) {
        interval.holds_iovas = true;
        if (from < interval.range.first) iovas->give_back({from, interval.range.first - 1});
        to_end = interval.range.last == range.last;
        from = interval.range.last + 1;
    });
    if (!to_end) iovas_->give_back({from, range.last});
}

Result<IovaCacheSlot*> SpaceState::make_iova_cache() {
    return guarded(Operation::none, [&]() -> Result<IovaCacheSlot*> {
        const sys::Lock lock(mutex_);
        (void)iovas();
        return caches_.make();
    });
}

void SpaceState::forget_iova_cache(IovaCacheSlot* slot) noexcept {
    const sys::Lock lock(mutex_);
    cached_ -= caches_.forget(slot, [iovas = iovas_.get()](Range range) { iovas->give_back(range); });
}

std::optional<Range> SpaceState::alloc_iovas(IovaCacheSlot& slot, std::uint64_t length) noexcept {
    if (auto range = caches_.alloc(slot, length)) return range;
    if (length == 0) return std::nullopt;
    try {
        const sys::Lock lock(mutex_);
        return refill(slot, length);
    } catch (const std::bad_alloc&) {
        return std::nullopt;
    }
}

std::optional<Range> SpaceState::refill(IovaCacheSlot& slot, std::uint64_t length) {
    IovaAllocator& iovas = this->iovas();
    const std::uint64_t least = iova_limits_->alignment;
    const unsigned size = caches_.size_of(std::max(length, least));
    if (size >= kIovaCacheSizes) {
        auto chosen = choose({.length = round_up(length, least), .alignment = least});
        cached_ += chosen ? 1 : 0;
        return chosen;
    }
    const IovaAllocator::Wanted wanted{.length = caches_.length_of(size),
                                       .alignment = caches_.length_of(size)};
    iovas.reserve(taken() + kRefill);
    Range ranges[kRefill];
    std::size_t count = 0;
    while (count < kRefill) {
        const auto chosen = count == 0 ? choose(wanted) : iovas.alloc(wanted);
        if (!chosen) break;
        ranges[count++] = *chosen;
    }
    if (count == 0) return std::nullopt;
    cached_ += count;
    for (const Range& range : caches_.fill(slot, iova_limits_, {ranges, count - 1})) {
        iovas.give_back(range);
        --cached_;
    }
    return ranges[count - 1];
}

void SpaceState::free_iovas(IovaCacheSlot& slot, Range range) noexcept {
    if (caches_.free(slot, range)) return;
    const char* wrong = nullptr;
    {
        const sys::Lock lock(mutex_);
        bool is_mapped = false;
        intervals_.each_in(range, [&](const Interval&) { is_mapped = true; });
        if (is_mapped)
            wrong = "something is mapped there";
        else if (cached_ == 0 || !iovas_->is_taken(range))
            wrong = "no IovaCache of the space gave that out";
        else {
            iovas_->give_back(range);
            --cached_;
        }
        // From now on the cache keeps what it may.
        if (!wrong && iova_limits_ && company_ && company_->limits == iova_limits_)
            (void)caches_.fill(slot, iova_limits_, {});
    }
    if (wrong)
        report(Severity::error, failed(Operation::none, EINVAL, [&] {
                   return compose("cannot free ", text(range), " in '", id_, "': ", wrong);
               }));
}

Reservation::Reservation(std::shared_ptr<SpaceState> state, Range range) noexcept
    : state_(std::move(state)), range_(range) {}
Reservation::Reservation(Reservation&&) noexcept = default;

Reservation& Reservation::operator=(Reservation&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(range_, other.range_);
    return *this;
}

Reservation::~Reservation() {
    if (state_) state_->release(range_);
}

Within::Within(const Reservation& reservation) noexcept
    : space_(reservation.state_.get()), reservation_(&reservation) {}
Within::Within(const IovaCache& cache) noexcept : space_(cache.state_.get()) {}

IovaCache::IovaCache(std::shared_ptr<SpaceState> state, IovaCacheSlot* slot) noexcept
    : state_(std::move(state)), slot_(slot) {}
IovaCache::IovaCache(IovaCache&&) noexcept = default;

IovaCache& IovaCache::operator=(IovaCache&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(slot_, other.slot_);
    return *this;
}

IovaCache::~IovaCache() {
    if (state_) state_->forget_iova_cache(slot_);
}

std::optional<Range> IovaCache::alloc(std::uint64_t length) noexcept {
    return state_->alloc_iovas(*slot_, length);
}
void IovaCache::free(Range range) noexcept { state_->free_iovas(*slot_, range); }

}  // namespace iommufd::inline v0_1::dma
