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
#include "dma/iova_allocator.hpp"
#include "dma/iova_caches.hpp"
#include "dma/iovas.hpp"
#include "dma/readers.hpp"
#include "dma/space_image.hpp"
#include "iommufd/dma/space.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::dma {

class Loan;

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
    // `how`: null, if in one go.
    Result<Mapped> map(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options,
                       const BringUp* how);
    // `owner`: the ticket of the Mapping that asks; 0: anybody.
    Result<std::uint64_t> unmap(Range range, std::uint64_t owner, Deadline deadline);
    // The Mapping gives its range to the space, or abandons it: unmapped now, or as soon as can be.
    void leave(std::uint64_t ticket, Range range) noexcept;
    void abandon(std::uint64_t ticket, Range range) noexcept;

    Result<Range> reserve(Range range, std::string label);
    Result<Range> reserve(std::uint64_t length, ReserveOptions options);
    void release(Range range) noexcept;

    Result<IovaCacheSlot*> make_iova_cache();
    void forget_iova_cache(IovaCacheSlot* slot) noexcept;
    std::optional<Range> alloc_iovas(IovaCacheSlot& slot, std::uint64_t length) noexcept;
    void free_iovas(IovaCacheSlot& slot, Range range) noexcept;

    // `faults`: null, where its page requests go nowhere.
    Result<void> attach(const std::shared_ptr<Attachable>& device, const core::FaultQueue* faults);
    Result<void> detach(Attachable& device) noexcept;

    // Of a Mapping of a dma-buf: takes it out of every sink, and maps it again.
    Result<void> remap(std::uint64_t ticket, Range range);

    // What has that memory mapped in the IOAS stays so while the loan lives; none where nothing has.
    Loan lend(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options) noexcept;

    void report(Severity severity, Error error) noexcept;

    // space_dirty.cpp
    Result<void> track_dirty(const DirtyOptions& options);
    Result<void> stop_dirty() noexcept;
    DirtyFrom dirty_from() const noexcept;
    std::string why_dirty_from() const;
    // space_dirty_sync.cpp
    Result<DirtySync> sync_dirty(Range range, DirtyLog::Call visit);
    // Appends what is known to be dirty in the range, and forgets it; what there is no memory for stays.
    void take_dirty(Range range, std::vector<Range>& dirty) noexcept;
    // space_handover.cpp: what a successor must know, and, in the successor, a space that knows it.
    void set_frozen(bool frozen) noexcept;
    SpaceImage image(std::vector<Error>& obstacles) const;
    Result<void> restore(const SpaceImage& image, std::vector<Mapped>& owned);

    std::vector<NotReleased> not_released() const;
    std::size_t retry_releases() noexcept;

    Reader reader(std::string_view label);
    Limits limits() const;
    std::vector<MappingInfo> mappings() const;
    std::vector<std::string> devices() const;
    std::vector<std::string> sinks() const;
    std::optional<IoasId> ioas() const;
    Space::Counters counters() const;

private:
    friend class Loan;

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
        std::shared_ptr<const Limits> limits;  // the alignment is a power of two
        bool some_leave = false;               // there are others, which take unmaps
    };

    struct Joined {
        std::weak_ptr<Sink> sink;          // its device, or ioas_, keeps it
        std::weak_ptr<Attachable> device;  // whose sink it is; nobody's: the IOAS
        Bound bound;
        bool leaving = false;               // takes no more maps
        std::optional<Error> failure = {};  // why it could not be cleared
    };

    struct Reserved {
        Range range;
        std::string label;
    };

    // The turn of one attach or detach; the next waits for its end.
    class Turn;
    // Intervals on their way out of the sinks.
    struct Removal;

    Result<void> check_thawed(std::string_view what) const IOMMUFD_REQUIRES(mutex_);
    void find_obstacles(std::vector<Error>& obstacles) const IOMMUFD_REQUIRES(mutex_);
    Result<std::shared_ptr<IoasSink>> adopt_ioas(const SpaceImage& image);

    // space_map.cpp
    // Checks all that can be known before, and says where the interval is to be.
    Result<void> plan(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options,
                      const Company& company, Interval& interval) IOMMUFD_REQUIRES(mutex_);
    Result<void> make_room(Interval& interval, const MapOptions& options) noexcept IOMMUFD_REQUIRES(mutex_);
    void drop(const Interval& interval) noexcept IOMMUFD_REQUIRES(mutex_);
    std::vector<Bound> bounds() const IOMMUFD_REQUIRES(mutex_);
    const std::shared_ptr<const Company>& company() const IOMMUFD_REQUIRES(mutex_);
    SinkPointers leaving_sinks() const IOMMUFD_REQUIRES(mutex_);

    // space_unmap.cpp
    Result<std::uint64_t> unmap_unwatched(Range range, std::uint64_t owner, Deadline deadline);
    void begin_removal(Interval* intervals, Removal& removal) IOMMUFD_REQUIRES(mutex_);
    static Phase take_out(Interval& interval, const Removal& removal) noexcept;
    void remove(Removal& removal) noexcept;
    Interval* wait_for_own(std::uint64_t ticket, Range range) noexcept IOMMUFD_REQUIRES(mutex_);
    void abandon(Interval& interval, const Error& why) noexcept IOMMUFD_REQUIRES(mutex_);
    std::optional<Error> abandoned_in(Range range) noexcept;
    void retry_abandoned() noexcept;

    // space_iovas.cpp
    Result<void> check_iova_options(const MapOptions& options) const;
    IovaAllocator& iovas() IOMMUFD_REQUIRES(mutex_);
    std::size_t taken() const noexcept IOMMUFD_REQUIRES(mutex_);
    std::optional<Range> choose(const IovaAllocator::Wanted& wanted) IOMMUFD_REQUIRES(mutex_);
    bool take(Range range) noexcept IOMMUFD_REQUIRES(mutex_);
    Result<void> claim(Interval& interval, const MapOptions& options) IOMMUFD_REQUIRES(mutex_);
    Result<void> check_within(const Interval& interval, const Within& within) IOMMUFD_REQUIRES(mutex_);
    std::string occupant(Range range) IOMMUFD_REQUIRES(mutex_);
    std::optional<Range> refill(IovaCacheSlot& slot, std::uint64_t length) IOMMUFD_REQUIRES(mutex_);
    void recall_iovas() noexcept IOMMUFD_REQUIRES(mutex_);
    void change_company() noexcept IOMMUFD_REQUIRES(mutex_);
    // Of what is about to be unmapped.
    struct LastBits {
        std::shared_ptr<const DirtyPlan> plan;  // null: nothing is tracked
        std::vector<std::uint64_t> bits;
    };
    struct DirtyChoice {
        DirtyFrom from;
        std::string why;
    };
    class DirtyUse;
    class DirtyReading;

    // space_dirty.cpp
    DirtyChoice choose_dirty(std::optional<DirtyFrom> wanted) const IOMMUFD_REQUIRES(mutex_);
    Result<std::shared_ptr<const DirtyPlan>> begin_trails(DirtyChoice choice);
    void stop_trail(const DirtyTrail& trail, std::optional<Error>& failure) noexcept;
    void end_marks() noexcept;
    bool still_covers(const DirtyPlan& plan) const noexcept IOMMUFD_REQUIRES(mutex_);
    std::shared_ptr<const DirtyPlan> refreshed(const DirtyPlan& plan) IOMMUFD_REQUIRES(mutex_);
    void replace_plan(std::shared_ptr<const DirtyPlan> plan, bool changed, bool mark_everything) noexcept;
    void mark_everything() noexcept IOMMUFD_REQUIRES(mutex_);
    std::vector<Range> mapped_ranges() const IOMMUFD_REQUIRES(mutex_);
    void log_newcomer(const std::shared_ptr<Attachable>& device) noexcept;
    void read_last_trail(const DirtyTrail& trail) noexcept;
    void read_last_log(const Attachable& device) noexcept;
    Result<void> adapt();
    void adapt_dirty() noexcept;
    void retry_unstopped() noexcept;

    // space_dirty_sync.cpp
    bool next_part(const DirtyPlan& plan, Iova at, Iova last, Range& part, bool& covered)
        IOMMUFD_REQUIRES(mutex_);
    Result<void> collect_dirty(Range range, const std::shared_ptr<const DirtyPlan>& only,
                               std::vector<std::uint64_t>& bits);
    Result<void> read_trails(const DirtyPlan& plan, Range range, core::Hwpt::Dirty after,
                             std::vector<std::uint64_t>& bits) noexcept;
    void deliver_dirty(Range range, DirtyLog::Call visit, std::span<std::uint64_t> bits,
                       std::vector<Range>& runs, DirtySync& sync) noexcept;
    LastBits prepare_last_bits(const Interval* intervals) IOMMUFD_REQUIRES(mutex_);
    void wait_for_dirty_reads(const Interval* intervals) IOMMUFD_REQUIRES(mutex_);
    void read_last_bits(LastBits& last, const Interval* intervals, DirtyFrom from) noexcept;
    void end_last_bits() noexcept IOMMUFD_REQUIRES(mutex_);

    // space_dma_buf.cpp
    void offer(Sink& sink, Interval& interval) noexcept;

    // space_attach.cpp
    Result<void> attach_iommu_device(const std::shared_ptr<Attachable>& device,
                                     const core::FaultQueue* faults);
    Result<void> attach_first(const std::shared_ptr<Attachable>& device, const core::FaultQueue* faults);
    Result<void> attach_further(const std::shared_ptr<Attachable>& device, const core::FaultQueue* faults);
    Result<void> attach_with_sink(const std::shared_ptr<Attachable>& device);
    Result<void> replay(const SinkPointer& sink, const Bound& sink_bound,
                        const std::shared_ptr<Attachable>& device);
    Result<void> detach_unwatched(Attachable& device) noexcept;
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
    const bool huge_pages_;
    const std::shared_ptr<Readers> readers_;
    std::unique_ptr<Readers::Retired> last_;  // for what is mapped when the space goes

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    Intervals intervals_ IOMMUFD_GUARDED_BY(mutex_);
    std::vector<Joined> sinks_ IOMMUFD_GUARDED_BY(mutex_);  // vhost-vdpa first, the IOAS last
    std::vector<Device> devices_ IOMMUFD_GUARDED_BY(mutex_);
    // Null after any change of those two: change_company().
    mutable std::shared_ptr<const Company> company_ IOMMUFD_GUARDED_BY(mutex_);
    std::shared_ptr<IoasSink> ioas_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint64_t generation_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    std::uint64_t next_ticket_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    // Made for the first IOVA that is to be chosen or reserved: who chooses all of them pays nothing for it.
    std::unique_ptr<IovaAllocator> iovas_ IOMMUFD_GUARDED_BY(mutex_);
    std::shared_ptr<const Limits> iova_limits_ IOMMUFD_GUARDED_BY(mutex_);  // a company's, that it was told
    std::map<Iova, Reserved> reservations_ IOMMUFD_GUARDED_BY(mutex_);      // by their first
    std::size_t cached_ IOMMUFD_GUARDED_BY(mutex_) = 0;  // ranges that caches have, or gave out
    IovaCaches caches_;
    std::unique_ptr<DirtyState> dirty_ IOMMUFD_GUARDED_BY(mutex_);  // null: nothing is tracked
    std::vector<Unstopped> unstopped_ IOMMUFD_GUARDED_BY(mutex_);
    bool changing_ IOMMUFD_GUARDED_BY(mutex_) = false;  // an attach or a detach is under way
    bool frozen_ IOMMUFD_GUARDED_BY(mutex_) = false;    // it is being handed over
    std::atomic<bool> has_abandoned_ = false;           // there may be something for retry_abandoned()
};

}  // namespace iommufd::inline v0_1::dma
