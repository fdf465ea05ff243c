// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// attach and detach of a Space.
#include <algorithm>
#include <cerrno>

#include "backend/state.hpp"
#include "core/delayed_reports.hpp"
#include "dma/sink_calls.hpp"
#include "dma/space_turn.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "error/probes.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

bool is_in_flight(const Interval& interval) {
    return interval.phase == Phase::mapping || interval.phase == Phase::unmapping;
}

Error cannot_attach(const Attachable& device, std::string_view space, int code, std::string cause,
                    std::string next) {
    return Error::refused(code, compose("cannot attach ", device.name(), " to '", space, "'"),
                          std::move(cause), std::move(next));
}

// How many pieces a sink is given at a time: enough for its batches, and little to hold in memory.
constexpr std::size_t kBatch = 16384;

Result<void> replay_pieces(Sink& sink, std::span<Interval* const> intervals) {
    std::vector<Piece> pieces;
    Result<void> replayed;
    const auto flush = [&] {
        if (!pieces.empty()) replayed = sink.replay(pieces);
        pieces.clear();
        return static_cast<bool>(replayed);
    };
    for (const Interval* const interval : intervals) {
        const auto add = [&](const Piece& piece) {
            pieces.push_back(piece);
            return pieces.size() < kBatch || flush();
        };
        if (!interval->each_piece(add)) return replayed;
    }
    (void)flush();
    return replayed;
}

}  // namespace

Result<void> SpaceState::check_all(const Bound& bound, std::string_view device) const {
    for (const auto& [first, interval] : intervals_.all())
        if (auto fits = check_bounds({&bound, 1}, interval); !fits)
            return fits.error().within(compose("cannot attach ", device, " to '", id_, "'"));
    return {};
}

void SpaceState::wait_for_older(std::uint64_t generation) {
    const auto older = [&](const auto& entry) {
        return entry.second.generation < generation && is_in_flight(entry.second);
    };
    while (std::ranges::any_of(intervals_.all(), older)) changed_.wait(mutex_);
}

SpaceState::Joined* SpaceState::find(const Sink& sink) {
    const auto found =
        std::ranges::find_if(sinks_, [&](const Joined& joined) { return joined.sink.lock().get() == &sink; });
    return found == sinks_.end() ? nullptr : &*found;
}

Result<void> SpaceState::refresh_bound(const SinkPointer& sink) {
    auto limits = sink->limits();
    if (!limits) return limits.error();
    Bound bound = bound_of(*sink, std::move(*limits));
    const sys::Lock lock(mutex_);
    if (Joined* const joined = find(*sink)) {
        joined->bound = std::move(bound);
        change_company();
    }
    return {};
}

void SpaceState::remove_device(const Attachable& device) noexcept {
    const sys::Lock lock(mutex_);
    change_company();
    std::erase_if(devices_, [&](const Device& entry) { return entry.device.get() == &device; });
}

// From here on the sink takes unmaps only; maps that began with it have ended when this returns. False: it never joined.
bool SpaceState::begin_to_leave(const Sink& sink) noexcept {
    const sys::Lock lock(mutex_);
    Joined* const joined = find(sink);
    if (!joined) return false;
    joined->leaving = true;
    change_company();
    for (auto& [first, interval] : intervals_.all())
        if (interval.phase == Phase::attaching) interval.phase = Phase::settled;
    changed_.notify_all();
    wait_for_older(++generation_);
    return true;
}

void SpaceState::forget(const Sink& sink) noexcept {
    const sys::Lock lock(mutex_);
    change_company();
    if (const Joined* const joined = find(sink)) sinks_.erase(sinks_.begin() + (joined - sinks_.data()));
}

// Takes out of a sink that leaves what is in it, and forgets it; else it stays, to be tried again.
Result<void> SpaceState::clear(Sink& sink) noexcept {
    const auto error = remove_from(sink, kEverything);
    if (!error) {
        forget(sink);
        return {};
    }
    const sys::Lock lock(mutex_);
    if (Joined* const joined = find(sink)) joined->failure = error;
    return *error;
}

// Within a turn.
void SpaceState::retry_leaving() noexcept {
    retry_unstopped();
    for (std::size_t i = 0;;) {
        SinkPointer sink;
        std::shared_ptr<Attachable> device;
        {
            const sys::Lock lock(mutex_);
            std::erase_if(sinks_, [](const Joined& joined) { return joined.sink.expired(); });
            while (i < sinks_.size() && !sinks_[i].leaving) ++i;
            if (i >= sinks_.size()) return;
            sink = sinks_[i].sink.lock();
            device = sinks_[i].device.lock();
        }
        if (sink && device && clear(*sink))
            device->release_claim();
        else
            ++i;
    }
}

// Tells a new sink of everything, and the space of the sink. On failure the caller makes it leave again.
Result<void> SpaceState::replay(const SinkPointer& sink, const Bound& sink_bound,
                                const std::shared_ptr<Attachable>& device) {
    std::vector<Interval*> intervals;
    {
        const sys::Lock lock(mutex_);
        const Bound device_bound = bound_of(*device);
        for (const Bound* const bound : {&sink_bound, &device_bound})
            if (auto fits = check_all(*bound, device->name()); !fits) return fits;
        devices_.reserve(devices_.size() + 1);
        // A pinning vhost-vdpa device counts iommufd's pins against its limit, but not the other way round:
        // so it comes first, and the IOAS last.
        const bool last = device->iommu_device() != nullptr;
        Joined joined{.sink = sink, .device = last ? nullptr : device, .bound = sink_bound};
        change_company();
        sinks_.insert(last ? sinks_.end() : sinks_.begin(), std::move(joined));
        devices_.push_back({.device = device, .bound = device_bound});
        wait_for_older(++generation_);
        for (auto& [first, interval] : intervals_.all())
            if (interval.generation < generation_ && interval.phase == Phase::settled)
                intervals.push_back(&interval);
        for (Interval* const interval : intervals) interval->phase = Phase::attaching;
    }
    // As they are replayed they stay where they are, so that they can be read without the mutex.
    const auto dma_bufs = std::ranges::partition(
        intervals, [](const Interval* interval) { return !interval->memory->is_dma_buf(); });
    const std::span memory(intervals.begin(), dma_bufs.begin());
    for (const Interval* const interval : memory) {
        Result<void> fits;
        interval->each_piece(
            [&](const Piece& piece) { return static_cast<bool>(fits = sink->check(piece)); });
        if (!fits) return fits;
    }
    if (auto replayed = replay_pieces(*sink, memory); !replayed) return replayed;
    for (Interval* const interval : dma_bufs) offer(*sink, *interval);
    const sys::Lock lock(mutex_);
    for (Interval* const interval : intervals) interval->phase = Phase::settled;
    changed_.notify_all();
    return {};
}

Result<void> SpaceState::attach_first(const std::shared_ptr<Attachable>& device,
                                      const core::FaultQueue* faults) {
    IommuDevice& iommu_device = *device->iommu_device();
    auto made = IoasSink::alloc(core::Context(iommu_device.context()), id_, huge_pages_);
    if (!made) return made.error();
    const std::shared_ptr<IoasSink> sink = std::move(*made);
    // Attached while it is empty: what the device allows is known then, and mapping afterwards is faster.
    if (auto attached = sink->tables().attach(iommu_device, faults); !attached) return attached;
    auto replayed = guarded(Operation::vfio_attach, [&]() -> Result<void> {
        auto limits = sink->limits();
        if (!limits) return limits.error();
        return replay(sink, bound_of(*sink, std::move(*limits)), device);
    });
    if (!replayed) {
        (void)begin_to_leave(*sink);
        remove_device(*device);
        if (auto detached = sink->tables().detach(iommu_device); !detached)
            report(Severity::error, detached.error());
        forget(*sink);
        return replayed;
    }
    const sys::Lock lock(mutex_);
    ioas_ = sink;
    return {};
}

Result<void> SpaceState::attach_further(const std::shared_ptr<Attachable>& device,
                                        const core::FaultQueue* faults) {
    std::shared_ptr<IoasSink> sink;
    {
        const sys::Lock lock(mutex_);
        sink = ioas_;
        Device entry{.device = device, .bound = bound_of(*device)};
        if (auto fits = check_all(entry.bound, device->name()); !fits) return fits;
        change_company();
        devices_.push_back(std::move(entry));  // from here on, maps keep within what it reaches
    }
    IommuDevice& iommu_device = *device->iommu_device();
    auto attached =
        guarded(Operation::vfio_attach, [&] { return sink->tables().attach(iommu_device, faults); });
    if (attached) {
        // The kernel has checked what is mapped; what may be mapped has narrowed.
        auto refreshed = guarded(Operation::ioas_iova_ranges, [&] { return refresh_bound(sink); });
        if (refreshed) return {};
        attached = refreshed.error();
        if (auto detached = sink->tables().detach(iommu_device); !detached)
            report(Severity::error, detached.error());
    }
    remove_device(*device);
    return attached;
}

Result<void> SpaceState::attach_iommu_device(const std::shared_ptr<Attachable>& device,
                                             const core::FaultQueue* faults) {
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
    return first ? attach_first(device, faults) : attach_further(device, faults);
}

Result<void> SpaceState::attach_with_sink(const std::shared_ptr<Attachable>& device) {
    Sink& sink = *device->sink();
    auto limits = sink.limits();
    if (!limits) return limits.error();
    auto replayed = guarded(Operation::iotlb_update, [&] {
        return replay(SinkPointer(device, &sink), bound_of(sink, std::move(*limits)), device);
    });
    if (!replayed)
        if (auto left = detach_sink(*device); !left) report(Severity::error, left.error());
    return replayed;
}

Result<void> SpaceState::attach(const std::shared_ptr<Attachable>& device, const core::FaultQueue* faults) {
    const core::DelayedReports delayed;
    const Turn turn(*this);
    return guarded(Operation::vfio_attach, [&]() -> Result<void> {
        {
            const sys::Lock lock(mutex_);
            if (auto thawed = check_thawed("attach"); !thawed) return thawed;
            const auto same = [&](const Device& entry) { return entry.device == device; };
            if (std::ranges::any_of(devices_, same))
                return cannot_attach(*device, id_, EBUSY, "it is attached already", "detach it first");
        }
        if (faults && !device->iommu_device())
            return cannot_attach(*device, id_, EOPNOTSUPP, "a vhost-vdpa device makes no page requests",
                                 "attach it without a fault queue");
        retry_leaving();
        if (!device->claim(this))
            return cannot_attach(*device, id_, EBUSY,
                                 "it is attached to another space, or could not be cleared when it left one",
                                 "detach it there first, or close it");
        log_newcomer(device);
        // Whatever ends it, the device is free again.
        auto attached = guarded(Operation::vfio_attach, [&] {
            return device->iommu_device() ? attach_iommu_device(device, faults) : attach_with_sink(device);
        });
        adapt_dirty();
        // A sink that could not be cleared keeps its device's claim.
        if (!attached && (device->iommu_device() || !is_leaving(*device->sink()))) device->release_claim();
        retry_abandoned();
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
    }
    if (last) (void)begin_to_leave(*sink);
    auto detached = sink->tables().detach(*device.iommu_device(),
                                          [&](const DirtyTrail& table) { read_last_trail(table); });
    if (last) {
        // The IOAS goes here, with all that is mapped in it.
        forget(*sink);
        const sys::Lock lock(mutex_);
        ioas_ = nullptr;
        return detached;
    }
    if (sink->gives_up()) return detached;
    auto refreshed = guarded(Operation::ioas_iova_ranges, [&] { return refresh_bound(sink); });
    return detached ? std::move(refreshed) : std::move(detached);
}

Result<void> SpaceState::detach_sink(Attachable& device) {
    Sink& sink = *device.sink();
    const bool joined = begin_to_leave(sink);
    remove_device(device);
    return joined ? clear(sink) : Result<void>();
}

bool SpaceState::is_leaving(const Sink& sink) {
    const sys::Lock lock(mutex_);
    return find(sink) != nullptr;
}

Result<void> SpaceState::detach(Attachable& device) noexcept {
    return probes::watched(
        iommufd_detach_semaphore, [&] { return detach_unwatched(device); },
        [&](const auto& result, std::int64_t ns) {
            probes::detach(id_, device.name(), probes::code_of(result), ns);
        });
}

Result<void> SpaceState::detach_unwatched(Attachable& device) noexcept {
    const core::DelayedReports delayed;
    const Turn turn(*this);
    retry_leaving();
    if (device.iommu_device()) remove_device(device);
    auto detached = guarded(Operation::vfio_detach, [&]() -> Result<void> {
        return device.iommu_device() ? detach_iommu_device(device) : detach_sink(device);
    });
    read_last_log(device);
    adapt_dirty();
    if (device.iommu_device() || !is_leaving(*device.sink())) device.release_claim();
    retry_abandoned();
    readers_->reclaim();
    return detached;
}

std::vector<NotReleased> SpaceState::not_released() const {
    std::vector<NotReleased> list;
    const sys::Lock lock(mutex_);
    for (const auto& [first, interval] : intervals_.all())
        if (interval.phase == Phase::stuck || interval.waits_for_retry())
            list.push_back({.object = compose(interval.describe(), " in '", id_, "'"),
                            .operation = interval.failure->operation(),
                            .code = interval.failure->code()});
    for (const Unstopped& unstopped : unstopped_)
        if (const auto trail = unstopped.lock())
            list.push_back(
                {.object = compose("the tracking of dirty pages of '", id_, "' by ", trail->describe()),
                 .operation = unstopped.failure.operation(),
                 .code = unstopped.failure.code()});
    for (const Joined& joined : sinks_)
        if (joined.leaving && joined.failure && !joined.sink.expired())
            list.push_back({.object = compose("what '", id_, "' had mapped in ", joined.bound.who),
                            .operation = joined.failure->operation(),
                            .code = joined.failure->code()});
    return list;
}

std::size_t SpaceState::retry_releases() noexcept {
    const core::DelayedReports delayed;
    const Turn turn(*this);
    retry_leaving();
    retry_abandoned();
    readers_->reclaim();
    const sys::Lock lock(mutex_);
    const auto waits = [](const auto& entry) { return entry.second.waits_for_retry(); };
    return static_cast<std::size_t>(std::ranges::count_if(intervals_.all(), waits) +
                                    std::ranges::count_if(sinks_, &Joined::leaving)) +
           unstopped_.size();
}

}  // namespace iommufd::inline v0_1::dma
