// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An I/O address space that several devices share: one picture of what they may reach, kept in this process
// and put into every sink.
//
//     Memory --map()--> Space --IOAS_MAP, IOAS_MAP_FILE--> an IOAS      <--attach-- VFIO devices
//                             '--IOTLB UPDATE-----------> an IOTLB      of each vhost-vdpa device
//
// A Space is a plan. It gets an IOAS from its Backend when its first VFIO device attaches, and everything is
// replayed then; it loses the IOAS when its last VFIO device leaves, and a later device replays into a new
// one. A mapping without a sink is planned, not mapped.
//
//     auto space = dma::Space::on(backend).value();
//     auto joined = space.attach(device).value();              // detaches when it goes
//     auto mapped = space.map(memory, {.iova = Iova{0x4000000}}).value();   // unmaps when it goes
//     space.map(ram, {.iova = gpa, .granule = 2_MiB}).value().leave();      // or belongs to the space,
//     space.unmap(*Range::of(gpa + 2_MiB, 4_MiB));                          // which unmaps by range
//
// What a Space promises, beyond the kernel:
//   - Overlap is refused, never half done; a failure part way is undone on every sink, or the error says what
//     remains, which then stays reserved, keeps its memory, is listed by not_released(), and is unmapped by the next
//     change of the space that can.
//   - unmap tells "nothing is mapped there" (ENOENT) from "it would split a mapping" (EINVAL).
//   - A range that every sink and device can reach, by its own width too, or a refusal that names the one.
//   - A device that attaches late gets what is mapped; what it can't reach refuses it before anything
//   changes.
//
// Threads: any calls may run at once. No lock is held while the kernel works: while one thread maps
// gigabytes, others query, translate, and map elsewhere. A call that meets an operation in flight on the same
// range gets EBUSY, which names it. Attaching and detaching take turns, and wait for maps in flight.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/attachable.hpp"
#include "iommufd/dma/bring_up.hpp"
#include "iommufd/dma/dirty_log.hpp"
#include "iommufd/dma/iova_cache.hpp"
#include "iommufd/dma/memory.hpp"
#include "iommufd/dma/reader.hpp"
#include "iommufd/dma/reservation.hpp"
#include "iommufd/dma/sink.hpp"

namespace iommufd::inline v0_1::dma {

class Space;
class SpaceState;
class SpaceHandover;

struct MapOptions {
    std::optional<Iova> iova;            // nothing: the space chooses one that every sink and device reaches
    std::uint64_t offset = 0;            // into the memory, in bytes
    std::uint64_t length = 0;            // in bytes; 0: to the end of the memory
    Access access = Access::read_write;  // what devices may do
    std::uint64_t granule = 0;           // may be unmapped in multiples of this many bytes; 0: only whole
    // A space of the same backend, which may have mapped the same memory already: then its pins are taken over, and the memory
    // is pinned and charged once for both (IOAS_COPY). That takes longer than to map huge pages: it saves memory limit, not
    // time. What is replayed for a later device is mapped anew. Looked at during the call only.
    const Space* pinned_by = nullptr;
    // So many bytes before and after it belong to it too, unmapped, and nobody maps there. Of an IOVA that the space chooses.
    std::uint64_t guard = 0;
    Within within = {};  // the Reservation or IovaCache in whose range `iova` is
};

struct AttachOptions {
    // Where the device's page requests go (viommu::PageRequests, core::FaultQueue): it is attached to a page table that has this
    // queue, which is kept alive by that. Without one, what isn't mapped is a failed DMA. Linux 6.11.
    const core::FaultQueue* fault_queue = nullptr;
};

struct UnmapOptions {
    // How long to wait for readers; nothing: as long as it takes.
    std::optional<std::chrono::steady_clock::time_point> deadline;
    // While dirty pages are tracked: what was written to in the range and not told yet is appended here, and not told by a sync.
    // Necessary where something else may be mapped there before the next one, which can't tell them apart. Not after a
    // failure, and what there is no memory for is told by the next sync.
    std::vector<Range>* dirty = nullptr;
};

enum class MappingState : std::uint8_t {
    planned,  // no device to map it for
    mapped,
    unreached,  // a dma-buf that a sink does without: see Mapping::remap()
    busy,       // an operation is in flight on it
    stuck,      // it could not be unmapped: a sink may still have it
};

struct MappingInfo {
    Range range;
    std::string memory;  // its label
    std::uint64_t offset;
    Access access;
    std::uint64_t granule;
    MappingState state;
};

// A mapping that unmaps its range when it goes, and keeps its memory until then. It waits for a device that is being told of
// it, and for readers. If a sink refuses, the range stays reserved and is unmapped as soon as it can be: see
// Space::not_released(). A guard that this very thread holds isn't waited for: what it sees stays until it goes.
class IOMMUFD_EXPORT Mapping {
public:
    Mapping(Mapping&&) noexcept;
    Mapping& operator=(Mapping&&) noexcept;
    ~Mapping();

    Iova iova() const noexcept { return range_.first; }
    Range range() const noexcept { return range_; }
    const Memory& memory() const noexcept { return memory_; }
    MappingState state() const;

    // Unmaps now. On failure the handle stays; see Space::unmap for the errors.
    Result<void> unmap(UnmapOptions options = {}) &&;
    // A dma-buf's (EINVAL: another memory's): unmaps it and maps it again, as is necessary after its exporter has revoked
    // it. When it can't be mapped now, this says why, and may be called again. EBUSY: an operation is in flight.
    Result<void> remap();
    // Gives the range to the space, which unmaps it by range or when it goes itself.
    void leave() &&;

private:
    friend class Space;
    friend class SpaceHandover;
    Mapping(std::shared_ptr<SpaceState> state, std::uint64_t ticket, Range range, Memory memory) noexcept;
    std::shared_ptr<SpaceState> state_;
    std::uint64_t ticket_;
    Range range_;
    Memory memory_;
};

// A device in a space: detaches it when it goes.
class IOMMUFD_EXPORT Attachment {
public:
    Attachment(Attachment&&) noexcept;
    Attachment& operator=(Attachment&&) noexcept;
    ~Attachment();

    const std::string& device() const noexcept;

    // Detaches now. The device is out of the space whatever this returns; after a failure it may still reach what was
    // mapped, which stays where it is: see Space::not_released(). A device that has been closed reaches nothing.
    Result<void> detach() &&;

private:
    friend class Space;
    friend class SpaceHandover;
    Attachment(std::shared_ptr<SpaceState> state, std::shared_ptr<Attachable> device) noexcept;
    std::shared_ptr<SpaceState> state_;
    std::shared_ptr<Attachable> device_;
};

class IOMMUFD_EXPORT Space {
public:
    struct Options {
        std::string id = "space";  // named by errors, and by the backend as the one that refers to it
        // Whether the IOMMU's page tables may have entries for more than a page. Without, dirty tracking is exact to 4 KiB, and
        // maps take much longer.
        bool huge_pages = true;
    };

    // ESHUTDOWN: the backend is being deleted.
    static Result<Space> on(const Backend& backend);
    static Result<Space> on(const Backend& backend, Options options);
    // For vhost-vdpa devices only: there is no /dev/iommu to attach a VFIO device through.
    static Result<Space> without_iommufd(Options options, Report report = {});

    Space(Space&&) noexcept;
    Space& operator=(Space&&) noexcept;
    // What mappings and attachments still hold goes with the last of them.
    ~Space();

    const std::string& id() const noexcept;

    // Attaches a device (vfio::Device, vdpa::Device, or an Attachable). EBUSY: it is attached already.
    // EINVAL: it can't reach a range that is mapped. EXDEV: it is bound to another backend. Else what the
    // kernel says of attaching or of mapping what is mapped; then nothing has changed.
    template <class Device>
        requires requires(const Device& device) { device.attachable(); }
    Result<Attachment> attach(const Device& device) const {
        return attach(device.attachable());
    }
    Result<Attachment> attach(const std::shared_ptr<Attachable>& device) const;
    // EOPNOTSUPP, ENODEV, EINVAL with a fault queue: the IOMMU, its driver, or the device has no page requests (PRI); so has no
    // vhost-vdpa device.
    template <class Device>
        requires requires(const Device& device) { device.attachable(); }
    Result<Attachment> attach(const Device& device, const AttachOptions& options) const {
        return attach(device.attachable(), options);
    }
    Result<Attachment> attach(const std::shared_ptr<Attachable>& device, const AttachOptions& options) const;

    // A dma-buf (Memory::dma_buf) that a sink doesn't take is no error but a warning in the report, and its mapping's state
    // is `unreached`.
    // EINVAL: no byte, misaligned, outside what a sink or device reaches, or `within` what is not so. EOVERFLOW: past 2^64.
    // EEXIST: overlap, also of what is reserved. ENOSPC: no room. EBUSY: the range is being unmapped. Else what the kernel says.
    Result<Mapping> map(const Memory& memory, MapOptions options = {}) const;
    // The same part by part, for large memory. ECANCELED: stopped.
    Result<Mapping> map(const Memory& memory, MapOptions options, const BringUp& how) const;

    // Keeps a range for the caller, or one of `length` bytes that every sink and device reaches and nobody has.
    // A range need not be within what they reach. EEXIST: some of it is mapped, reserved, or with a cache's user. EINVAL: no
    // byte, an alignment that is no power of two. ENOSPC: no room.
    Result<Reservation> reserve(Range range, std::string label = "reservation") const;
    Result<Reservation> reserve(std::uint64_t length, ReserveOptions options = {}) const;
    // For many small ranges without a mapping: one for each thread.
    Result<IovaCache> iova_cache() const;

    // Unmaps what lies in the range; returns the bytes. ENOENT: nothing. EINVAL: it would split a mapping.
    // EBUSY: a live Mapping owns it, or an operation is in flight. EDEADLK: this thread holds a guard.
    // ETIMEDOUT: unmapped, but a reader has a guard: a change of the space after its end frees the memory.
    Result<std::uint64_t> unmap(Range range, UnmapOptions options = {}) const;

    // Tracks which pages are written to until the log goes: dirty_log.hpp. A warning in the report says if everything counts
    // as written. EBUSY: that is done already. EDEADLK: this thread holds a guard. EOPNOTSUPP: not all devices have
    // options.from. Else what the kernel says; then nothing is tracked.
    Result<DirtyLog> track_dirty(DirtyOptions options = {}) const;

    // The first one takes time in proportion to what is mapped, and all that is mapped from then on a little more: a space that
    // nobody reads doesn't pay for it. Throws std::bad_alloc.
    Reader reader(std::string_view label = "reader") const;

    // What can be mapped now for all sinks and devices, and to what IOVAs, sizes and addresses must be
    // aligned.
    Limits limits() const;
    std::vector<MappingInfo> mappings() const;
    std::vector<std::string> devices() const;
    std::vector<std::string> sinks() const;
    // The IOAS in use, while a VFIO device is attached.
    std::optional<IoasId> ioas() const;

    struct Counters {
        // Kernel calls, of the IOAS in use.
        std::uint64_t mapped_by_file = 0;
        std::uint64_t mapped_by_address = 0;
        std::uint64_t mapped_by_copy = 0;  // see MapOptions::pinned_by
        std::uint64_t unmapped = 0;
        // Spent in those of 2 MiB and more: reading the clock would cost the smaller ones too much.
        std::chrono::nanoseconds time{};
        // Bytes, now.
        std::uint64_t mapped = 0;
        std::uint64_t pinned = 0;  // of those, what the kernel holds for the IOAS; no dma-bufs
        // How they divide into I/O pages of these sizes, if the IOMMU has them and the memory is contiguous: as IOVA and address
        // allow. (`small`: of the CPU's smallest size.)
        std::uint64_t pages_of_1_gib = 0;
        std::uint64_t pages_of_2_mib = 0;
        std::uint64_t small_pages = 0;
    };
    Counters counters() const;

    // What a sink may still have though it was unmapped or detached; empty in all good days.
    std::vector<NotReleased> not_released() const;
    // Tries those again, as each change of the space does; returns how many remain.
    std::size_t retry_releases() const;

    const std::shared_ptr<SpaceState>& state() const noexcept { return state_; }

private:
    friend class SpaceHandover;
    explicit Space(std::shared_ptr<SpaceState> state) noexcept;
    Result<Mapping> map(const Memory& memory, const MapOptions& options, const BringUp* how) const;
    std::shared_ptr<SpaceState> state_;
};

}  // namespace iommufd::inline v0_1::dma
