// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is behind a Space and all its mappings and attachments.
//
// Every change is made in two steps, like the kernel's own: reserve under the mutex, call the kernel without
// it, publish under it.
//
//     map      reserve the interval; sinks, vhost-vdpa first; publish to readers
//     unmap    mark the intervals; sinks in reverse; publish; wait for readers; free
//     attach   join the sink (maps that begin now go there too); wait for maps that began before; replay;
//     live
//
// A Translation for the publishing is reserved with the interval, so that nothing can fail after the kernel
// has agreed.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "dma/intervals.hpp"
#include "dma/ioas_sink.hpp"
#include "dma/iovas.hpp"
#include "dma/readers.hpp"
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
    void leave(std::uint64_t ticket, Range range) noexcept;

    Result<void> attach(const std::shared_ptr<Attachable>& device);
    Result<void> detach(Attachable& device) noexcept;

    void report(Error error) noexcept;

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

    struct Device {
        std::shared_ptr<Attachable> device;
        Bound bound;  // by its address lines
    };

    // The turn of one attach or detach; the next waits for its end.
    class Turn;
    // A sink that takes part: parts again unless it is kept.
    class Joining;

    // space_map.cpp
    Result<Interval> plan(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options) const
        IOMMUFD_REQUIRES(mutex_);
    std::vector<Bound> bounds() const IOMMUFD_REQUIRES(mutex_);
    std::vector<SinkPointer> sink_pointers() const IOMMUFD_REQUIRES(mutex_);
    void prepare_publish() IOMMUFD_REQUIRES(mutex_);
    void publish(std::vector<std::shared_ptr<const void>> keep) noexcept IOMMUFD_REQUIRES(mutex_);

    // space_attach.cpp
    Result<void> attach_iommu_device(const std::shared_ptr<Attachable>& device);
    Result<void> attach_first(const std::shared_ptr<Attachable>& device);
    Result<void> attach_further(const std::shared_ptr<Attachable>& device);
    Result<void> attach_with_sink(const std::shared_ptr<Attachable>& device);
    Result<void> replay(Joining& joining, const Bound& sink_bound, const std::shared_ptr<Attachable>& device);
    Result<void> detach_iommu_device(Attachable& device);
    Result<void> refresh_bound(const SinkPointer& sink);
    Result<void> check_all(const Bound& bound, std::string_view device) const IOMMUFD_REQUIRES(mutex_);
    void wait_for_older(std::uint64_t generation) IOMMUFD_REQUIRES(mutex_);
    void part(const Sink& sink) noexcept;
    void remove_device(const Attachable& device) noexcept;

    const std::string id_;
    const std::optional<Reference> reference_;
    const std::shared_ptr<backend::State> backend_;  // null: for vhost-vdpa only
    const Report report_;
    const std::uint64_t page_size_;
    const std::shared_ptr<Readers> readers_;

    struct Joined {
        SinkPointer sink;
        Bound bound;
    };

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    Intervals intervals_ IOMMUFD_GUARDED_BY(mutex_);
    std::vector<Joined> sinks_ IOMMUFD_GUARDED_BY(mutex_);  // vhost-vdpa first, the IOAS last
    std::vector<Device> devices_ IOMMUFD_GUARDED_BY(mutex_);
    std::shared_ptr<IoasSink> ioas_ IOMMUFD_GUARDED_BY(mutex_);
    // One for each operation that will publish, with room for all intervals.
    std::vector<std::unique_ptr<Translation>> spare_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint64_t generation_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    std::uint64_t next_ticket_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    bool changing_ IOMMUFD_GUARDED_BY(mutex_) = false;  // an attach or a detach is under way
};

}  // namespace iommufd::inline v0_1::dma
