// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// attach and detach of a Space.
#include <algorithm>
#include <cerrno>

#include "backend/state.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

constexpr Range kEverything{Iova{0}, Iova{~std::uint64_t{0}}};

bool is_in_flight(const Interval& interval) {
    return interval.phase == Phase::mapping || interval.phase == Phase::unmapping;
}

Error cannot_attach(const Attachable& device, std::string_view space, int code, std::string cause,
                    std::string next) {
    return Error::refused(code, compose("cannot attach ", device.name(), " to '", space, "'"),
                          std::move(cause), std::move(next));
}

Bound bound_of(const Attachable& device) {
    return {.who = device.name(), .ranges = addressable(device.dma_bits()), .alignment = 1};
}

Bound bound_of(const Sink& sink, Limits&& limits) {
    return {.who = sink.describe(), .ranges = std::move(limits.ranges), .alignment = limits.alignment};
}

}  // namespace

class SpaceState::Turn {
public:
    explicit Turn(SpaceState& space) : space_(space) {
        const sys::Lock lock(space_.mutex_);
        while (space_.changing_) space_.changed_.wait(space_.mutex_);
        space_.changing_ = true;
    }
    ~Turn() {
        const sys::Lock lock(space_.mutex_);
        space_.changing_ = false;
        space_.changed_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    SpaceState& space_;
};

class SpaceState::Joining {
public:
    Joining(SpaceState& space, SinkPointer sink) : space_(space), sink_(std::move(sink)) {}
    ~Joining() {
        if (joined_ && !kept_) space_.part(*sink_);
    }
    Joining(const Joining&) = delete;
    Joining& operator=(const Joining&) = delete;

    const SinkPointer& sink() const noexcept { return sink_; }
    void joined() noexcept { joined_ = true; }
    void keep() noexcept { kept_ = true; }

private:
    SpaceState& space_;
    const SinkPointer sink_;
    bool joined_ = false;
    bool kept_ = false;
};

Result<void> SpaceState::check_all(const Bound& bound, std::string_view device) const {
    for (const auto& [first, interval] : intervals_.all())
        if (auto fits = check_bounds({&bound, 1}, interval.range, interval.describe()); !fits)
            return fits.error().within(compose("cannot attach ", device, " to '", id_, "'"));
    return {};
}

void SpaceState::wait_for_older(std::uint64_t generation) {
    const auto older = [&](const auto& entry) {
        return entry.second.generation < generation && is_in_flight(entry.second);
    };
    while (std::ranges::any_of(intervals_.all(), older)) changed_.wait(mutex_);
}

Result<void> SpaceState::refresh_bound(const SinkPointer& sink) {
    auto limits = sink->limits();
    if (!limits) return limits.error();
    Bound bound = bound_of(*sink, std::move(*limits));
    const sys::Lock lock(mutex_);
    const auto joined = std::ranges::find(sinks_, sink, &Joined::sink);
    if (joined != sinks_.end()) joined->bound = std::move(bound);
    return {};
}

void SpaceState::remove_device(const Attachable& device) noexcept {
    const sys::Lock lock(mutex_);
    std::erase_if(devices_, [&](const Device& entry) { return entry.device.get() == &device; });
}

// Takes the sink out: maps that began with it have ended when this returns. What was stuck in the last sink
// is free now, since the sink's owner clears it.
void SpaceState::part(const Sink& sink) noexcept {
    const sys::Lock lock(mutex_);
    std::erase_if(sinks_, [&](const Joined& joined) { return joined.sink.get() == &sink; });
    for (auto& [first, interval] : intervals_.all())
        if (interval.phase == Phase::attaching) interval.phase = Phase::settled;
    wait_for_older(++generation_);
    if (!sinks_.empty()) return;
    std::erase_if(intervals_.all(), [](const auto& entry) {
        return entry.second.phase == Phase::stuck && entry.second.owner == 0;
    });
}

// Tells a new sink of everything, and the space of the sink. On failure the caller's Joining takes it out.
Result<void> SpaceState::replay(Joining& joining, const Bound& sink_bound,
                                const std::shared_ptr<Attachable>& device) {
    const SinkPointer& sink = joining.sink();
    std::vector<Interval*> intervals;
    std::vector<Piece> pieces;
    {
        const sys::Lock lock(mutex_);
        const Bound device_bound = bound_of(*device);
        for (const Bound* const bound : {&sink_bound, &device_bound})
            if (auto fits = check_all(*bound, device->name()); !fits) return fits;
        devices_.reserve(devices_.size() + 1);
        // A pinning vhost-vdpa device counts iommufd's pins against its limit, but not the other way round:
        // so it comes first, and the IOAS last.
        const bool last = device->iommu_device() != nullptr;
        sinks_.insert(last ? sinks_.end() : sinks_.begin(), {.sink = sink, .bound = sink_bound});
        joining.joined();
        devices_.push_back({.device = device, .bound = device_bound});
        wait_for_older(++generation_);
        for (auto& [first, interval] : intervals_.all())
            if (interval.generation < generation_ && interval.phase == Phase::settled)
                intervals.push_back(&interval);
        for (Interval* const interval : intervals)
            interval->each_piece([&](const Piece& piece) { return pieces.push_back(piece), true; });
        for (Interval* const interval : intervals) interval->phase = Phase::attaching;
    }
    for (const Piece& piece : pieces)
        if (auto fits = sink->check(piece); !fits) return fits;
    if (auto replayed = sink->replay(pieces); !replayed) return replayed;
    {
        const sys::Lock lock(mutex_);
        for (Interval* const interval : intervals) interval->phase = Phase::settled;
        changed_.notify_all();
    }
    joining.keep();
    return {};
}

Result<void> SpaceState::attach_first(const std::shared_ptr<Attachable>& device) {
    IommuDevice& iommu_device = *device->iommu_device();
    auto made = IoasSink::alloc(core::Context(iommu_device.context()), id_);
    if (!made) return made.error();
    const std::shared_ptr<IoasSink> sink = std::move(*made);
    // Attached while it is empty: what the device allows is known then, and mapping afterwards is faster.
    if (auto attached = sink->tables().attach(iommu_device); !attached) return attached;
    auto replayed = guarded(Operation::vfio_attach, [&]() -> Result<void> {
        auto limits = sink->limits();
        if (!limits) return limits.error();
        Joining joining(*this, sink);
        return replay(joining, bound_of(*sink, std::move(*limits)), device);
    });
    if (!replayed) {
        remove_device(*device);
        if (auto detached = sink->tables().detach(iommu_device); !detached) report(detached.error());
        return replayed;
    }
    const sys::Lock lock(mutex_);
    ioas_ = sink;
    return {};
}

Result<void> SpaceState::attach_further(const std::shared_ptr<Attachable>& device) {
    std::shared_ptr<IoasSink> sink;
    {
        const sys::Lock lock(mutex_);
        sink = ioas_;
        Device entry{.device = device, .bound = bound_of(*device)};
        if (auto fits = check_all(entry.bound, device->name()); !fits) return fits;
        devices_.push_back(std::move(entry));  // from here on, maps keep within what it reaches
    }
    IommuDevice& iommu_device = *device->iommu_device();
    auto attached = guarded(Operation::vfio_attach, [&] { return sink->tables().attach(iommu_device); });
    if (attached) {
        // The kernel has checked what is mapped; what may be mapped has narrowed.
        auto refreshed = guarded(Operation::ioas_iova_ranges, [&] { return refresh_bound(sink); });
        if (refreshed) return {};
        attached = refreshed.error();
        if (auto detached = sink->tables().detach(iommu_device); !detached) report(detached.error());
    }
    remove_device(*device);
    return attached;
}

Result<void> SpaceState::attach_iommu_device(const std::shared_ptr<Attachable>& device) {
    const auto context = backend_ ? backend_->context() : nullptr;
    if (!context || device->iommu_device()->context() != context)
        return cannot_attach(*device, id_, EXDEV,
                             backend_ ? compose("it is bound to another iommufd than '", backend_->id(), "'")
                                      : std::string("the space has no iommufd"),
                             "bind the device to the iommufd of the space");
    bool first = false;
    {
        const sys::Lock lock(mutex_);
        first = ioas_ == nullptr;
    }
    return first ? attach_first(device) : attach_further(device);
}

Result<void> SpaceState::attach_with_sink(const std::shared_ptr<Attachable>& device) {
    auto limits = device->sink()->limits();
    if (!limits) return limits.error();
    const SinkPointer sink(device, device->sink());
    auto replayed = guarded(Operation::iotlb_update, [&] {
        Joining joining(*this, sink);
        return replay(joining, bound_of(*sink, std::move(*limits)), device);
    });
    if (!replayed) {
        remove_device(*device);
        auto cleared = sink->unmap(kEverything);
        if (!cleared && cleared.error().code() != ENOENT) report(cleared.error());
    }
    return replayed;
}

Result<void> SpaceState::attach(const std::shared_ptr<Attachable>& device) {
    const Turn turn(*this);
    return guarded(Operation::vfio_attach, [&]() -> Result<void> {
        {
            const sys::Lock lock(mutex_);
            const auto same = [&](const Device& entry) { return entry.device == device; };
            if (std::ranges::any_of(devices_, same))
                return cannot_attach(*device, id_, EBUSY, "it is attached already", "detach it first");
        }
        if (!device->claim(this))
            return cannot_attach(*device, id_, EBUSY, "it is attached to another space",
                                 "detach it there first");
        auto attached = device->iommu_device() ? attach_iommu_device(device) : attach_with_sink(device);
        if (!attached) device->release_claim();
        readers_->reclaim();
        return attached;
    });
}

Result<void> SpaceState::detach_iommu_device(Attachable& device) {
    std::shared_ptr<IoasSink> sink;
    bool last = false;
    {
        const sys::Lock lock(mutex_);
        last =
            std::ranges::none_of(devices_, [](const Device& entry) { return entry.device->iommu_device(); });
        sink = ioas_;
        if (last) ioas_ = nullptr;
    }
    if (last) part(*sink);
    auto detached = sink->tables().detach(*device.iommu_device());
    if (last) return detached;  // and the IOAS goes here, with all that is mapped in it
    auto refreshed = guarded(Operation::ioas_iova_ranges, [&] { return refresh_bound(sink); });
    return detached ? std::move(refreshed) : std::move(detached);
}

Result<void> SpaceState::detach(Attachable& device) noexcept {
    const Turn turn(*this);
    remove_device(device);
    auto detached = guarded(Operation::vfio_detach, [&]() -> Result<void> {
        if (device.iommu_device()) return detach_iommu_device(device);
        part(*device.sink());
        auto cleared = device.sink()->unmap(kEverything);
        if (!cleared && cleared.error().code() != ENOENT) return cleared.error();
        return {};
    });
    device.release_claim();
    return detached;
}

}  // namespace iommufd::inline v0_1::dma
