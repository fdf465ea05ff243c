// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which pages of a space were written to: for live migration, snapshots, and replication.
//
//     auto log = space.track_dirty().value();                  from here on; all is clean
//     log.sync([&](std::span<const Range> runs) { ... });      what was written since; clean again
//     log.sync(range, visit);                                  of one range only
//     std::move(log).stop();                                   or when it goes
//
// What devices write is told by one of these, the first that there is for all of them:
//
//     devices        each device's own log                         VFIO_DEVICE_FEATURE_DMA_LOGGING_*
//     page_tables    the dirty bits of the IOMMU's page tables     HWPT_SET_DIRTY_TRACKING, HWPT_GET_DIRTY_BITMAP
//     everything     nothing: all that is mapped writable counts as written (so always with a vhost-vdpa device)
//
// Whoever plays a device in this process is covered besides: Guard::translate with write or read_write marks the pages.
//
// No write is lost, whatever happens meanwhile:
//   - what a mapping was written to before it is unmapped is told by the next sync, or at once: UnmapOptions::dirty
//   - a device that attaches is covered before it can make DMA, or the source changes to a weaker one: then all that is mapped
//     is told once more, DirtySync::changed says so, and so does the report
//   - the last bits of a device that detaches are read before its page table goes
//   - when the kernel can't be read, what it was asked for counts as written, and is told by the next sync
// But whoever takes memory away (unmap) stops the device's DMA to it first, as always.
//
// A page of an IOMMU may be large: then one write makes all of it dirty. Space::Options::huge_pages = false keeps them small.
// The memory of dma-bufs is not tracked: it is a device's own.
//
// Threads: any calls may run at once, also with all calls of the space; each write is told to one of two syncs that overlap.
// stop(), and letting the log go, only when no other call of it is under way.
// Linux: page tables 6.7, devices 6.1.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "iommufd/core/types.hpp"
#include "iommufd/error/result.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

class SpaceState;

enum class DirtyFrom : std::uint8_t {
    nowhere,  // there is no device: what is translated for writing is all
    devices,
    page_tables,
    everything,
};

struct DirtyOptions {
    // This one and no other. EOPNOTSUPP: not all devices have it.
    std::optional<DirtyFrom> from;
    // Of how many bytes of IOVAs the kernel is asked at a time; maps wait for that long. A mapping that may have I/O pages of any
    // size (AMD's, without a granule) is read at once all the same: what lies in one page can't be read in parts.
    std::uint64_t chunk = std::uint64_t{1} << 30;
    // How long a sync waits for guards that have translated for writing. What is marked when one stays longer is told by this
    // sync and the next.
    std::chrono::milliseconds patience{100};
};

struct DirtySync {
    DirtyFrom from = DirtyFrom::nowhere;  // as it is now
    bool changed = false;                 // since the sync before
    std::uint64_t bytes = 0;              // dirty
};

// Tracks until it goes.
class IOMMUFD_EXPORT DirtyLog {
public:
    DirtyLog(DirtyLog&&) noexcept;
    DirtyLog& operator=(DirtyLog&&) noexcept;
    ~DirtyLog();

    DirtyFrom from() const noexcept;
    // Why it is no better one: "vhost-vdpa-0 has no log of what it writes". Empty for `devices`.
    std::string why() const;

    // Calls visit(std::span<const Range>) with runs of dirty pages of 4 KiB: ascending, and apart from each other. It may call
    // the space, but not throw. What it was told of is clean from then on. ENOMEM, or what the kernel says: then it was
    // not called, and nothing is lost.
    template <class Visit>
    Result<DirtySync> sync(Visit&& visit) const {
        return sync({Iova{0}, Iova{~std::uint64_t{0}}}, visit);
    }
    // Of the pages that lie in the range, at least in part.
    template <class Visit>
    Result<DirtySync> sync(Range range, Visit&& visit) const {
        using Visitor = std::remove_reference_t<Visit>;
        return run(range, {&visit, [](const void* visitor, std::span<const Range> runs) {
                               (*const_cast<Visitor*>(static_cast<const Visitor*>(visitor)))(runs);
                           }});
    }

    // EIO and others: what could not be stopped is listed by Space::not_released() and tried again.
    Result<void> stop() &&;

    // Of sync().
    struct Call {
        const void* visitor;
        void (*call)(const void* visitor, std::span<const Range> runs);
        void operator()(std::span<const Range> runs) const { call(visitor, runs); }
    };

private:
    friend class Space;
    explicit DirtyLog(std::shared_ptr<SpaceState> state) noexcept;
    Result<DirtySync> run(Range range, Call visit) const;
    std::shared_ptr<SpaceState> state_;
};

}  // namespace iommufd::inline v0_1::dma
