// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is behind a Space and all its mappings and attachments.
//
// Every change is made in two steps, like the kernel's own: reserve under the mutex, call the kernel without
// it, publish under it.
//
//     map      reserve the interval; sinks, vhost-vdpa first; show it to readers
//     unmap    mark the intervals; sinks in reverse; hide them from readers; wait for those; free
//     attach   join the sink (maps that begin now go there too); wait for maps that began before; replay;
//     live
//     detach   maps that begin now don't go to the sink; wait for those that began before; clear it; forget it
//
// What readers will see is built when the interval is reserved, and only shown when the kernel has agreed: so nothing can
// fail after that.
//
// What can't be given back is kept, and tried again by whatever changes the space next: an abandoned interval keeps its
// memory, and a sink that leaves goes on taking unmaps until it could be cleared, or its device has been closed.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "dma/intervals.hpp"
#include "dma/ioas_sink.hpp"
#include "dma/iovas.hpp"
#include "dma/readers.hpp"
#include "dma/space_image.hpp"
#include "iommufd/dma/space.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::dma {

class SpaceState : public std::enable_shared_from_this<SpaceState> {
public:
    SpaceState(Space::Options options, std::optional<Reference> reference,
               std::shared_ptr<backend::State> backend, Report report);
    SpaceState(const SpaceState&) = delete;
    SpaceState& operator=(const SpaceState&) = delete;
    ~SpaceState();

    const std::string& id() const noexcept { return id_; }

    struct Mapped {
        std::uint64_t ticket;
        Range range;
    };
    Result<Mapped> map(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options);
    // `owner`: the ticket of the Mapping that asks; 0: anybody.
    Result<std::uint64_t> unmap(Range range, std::uint64_t owner, Deadline deadline);
    // The Mapping gives its range to the space, or abandons it: unmapped now, or as soon as can be.
    void leave(std::uint64_t ticket, Range range) noexcept;
    void abandon(std::uint64_t ticket, Range range) noexcept;

    Result<void> attach(const std::shared_ptr<Attachable>& device);
    Result<void> detach(Attachable& device) noexcept;

    // Of a Mapping of a dma-buf: takes it out of every sink, and maps it again.
    Result<void> remap(std::uint64_t ticket, Range range);

    void report(Severity severity, Error error) noexcept;

    // space_handover.cpp: what a successor must know, and, in the successor, a space that knows it.
    void set_frozen(bool frozen) noexcept;
    SpaceImage image(std::vector<Error>& obstacles) const;
    Result<void> restore(const SpaceImage& image, std::vector<Mapped>& owned);

    std::vector<NotReleased> not_released() const;
    std::size_t retry_releases() noexcept;

    Readers& readers() noexcept { return *readers_; }
    Limits limits() const;
    std::vector<MappingInfo> mappings() const;
    std::vector<std::string> devices() const;
    std::vector<std::string> sinks() const;
    std::optional<IoasId> ioas() const;
    Space::Counters counters() const;

private:
    // Keeps a sink alive for as long as an operation uses it.
    using SinkPointer = std::shared_ptr<Sink>;
    using SinkPointers = std::vector<SinkPointer>;

    struct Device {
        std::shared_ptr<Attachable> device;
        Bound bound;  // by its address lines
    };

    // What all sinks and devices that are there together take, and the sinks that maps go to.
    struct Company {
        SinkPointers sinks;
        std::vector<Range> ranges;
        std::uint64_t alignment = 1;  // a power of two
        bool some_leave = false;      // there are others, which take unmaps
    };

    struct Joined {
        std::weak_ptr<Sink> sink;          // its device, or ioas_, keeps it
        std::weak_ptr<Attachable> device;  // whose sink it is; nobody's: the IOAS
        Bound bound;
        bool leaving = false;               // takes no more maps
        std::optional<Error> failure = {};  // why it could not be cleared
    };

    // The turn of one attach or detach; the next waits for its end.
    class Turn;
    // Intervals on their way out of the sinks.
    struct Removal;

    Result<void> check_thawed(std::string_view what) const IOMMUFD_REQUIRES(mutex_);
    void find_obstacles(std::vector<Error>& obstacles) const IOMMUFD_REQUIRES(mutex_);
    Result<std::shared_ptr<IoasSink>> adopt_ioas(const SpaceImage& image);

    // space_map.cpp
    Result<Interval> plan(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options,
                          const Company& company) const IOMMUFD_REQUIRES(mutex_);
    std::vector<Bound> bounds() const IOMMUFD_REQUIRES(mutex_);
    const std::shared_ptr<const Company>& company() const IOMMUFD_REQUIRES(mutex_);
    SinkPointers leaving_sinks() const IOMMUFD_REQUIRES(mutex_);

    // space_unmap.cpp
    Removal begin_removal(Interval* intervals) IOMMUFD_REQUIRES(mutex_);
    static Phase take_out(Interval& interval, const Removal& removal) noexcept;
    void remove(Removal& removal) noexcept;
    Interval* wait_for_own(std::uint64_t ticket, Range range) noexcept IOMMUFD_REQUIRES(mutex_);
    void abandon(Interval& interval, const Error& why) noexcept IOMMUFD_REQUIRES(mutex_);
    std::optional<Error> abandoned_in(Range range) noexcept;
    void retry_abandoned() noexcept;

    // space_dma_buf.cpp
    void offer(Sink& sink, Interval& interval) noexcept;

    // space_attach.cpp
    Result<void> attach_iommu_device(const std::shared_ptr<Attachable>& device);
    Result<void> attach_first(const std::shared_ptr<Attachable>& device);
    Result<void> attach_further(const std::shared_ptr<Attachable>& device);
    Result<void> attach_with_sink(const std::shared_ptr<Attachable>& device);
    Result<void> replay(const SinkPointer& sink, const Bound& sink_bound,
                        const std::shared_ptr<Attachable>& device);
    Result<void> detach_iommu_device(Attachable& device);
    Result<void> detach_sink(Attachable& device);
    Result<void> refresh_bound(const SinkPointer& sink);
    Result<void> check_all(const Bound& bound, std::string_view device) const IOMMUFD_REQUIRES(mutex_);
    void wait_for_older(std::uint64_t generation) IOMMUFD_REQUIRES(mutex_);
    Joined* find(const Sink& sink) IOMMUFD_REQUIRES(mutex_);
    bool begin_to_leave(const Sink& sink) noexcept;
    bool is_leaving(const Sink& sink);
    void forget(const Sink& sink) noexcept;
    Result<void> clear(Sink& sink) noexcept;
    void retry_leaving() noexcept;
    void remove_device(const Attachable& device) noexcept;

    const std::string id_;
    const std::optional<Reference> reference_;
    const std::shared_ptr<backend::State> backend_;  // null: for vhost-vdpa only
    const Report report_;
    const std::uint64_t page_size_;
    const std::shared_ptr<Readers> readers_;
    std::unique_ptr<Readers::Retired> last_;  // for what is mapped when the space goes

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    Intervals intervals_ IOMMUFD_GUARDED_BY(mutex_);
    std::vector<Joined> sinks_ IOMMUFD_GUARDED_BY(mutex_);  // vhost-vdpa first, the IOAS last
    std::vector<Device> devices_ IOMMUFD_GUARDED_BY(mutex_);
    // Null after any change of those two.
    mutable std::shared_ptr<const Company> company_ IOMMUFD_GUARDED_BY(mutex_);
    std::shared_ptr<IoasSink> ioas_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint64_t generation_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    std::uint64_t next_ticket_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    bool changing_ IOMMUFD_GUARDED_BY(mutex_) = false;  // an attach or a detach is under way
    bool frozen_ IOMMUFD_GUARDED_BY(mutex_) = false;    // it is being handed over
    std::atomic<bool> has_abandoned_ = false;           // there may be something for retry_abandoned()
};

}  // namespace iommufd::inline v0_1::dma
