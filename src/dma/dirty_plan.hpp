// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What tells which pages devices have written to, while a space tracks that.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "iommufd/core/hwpt.hpp"
#include "iommufd/dma/attachable.hpp"
#include "iommufd/dma/dirty_log.hpp"

namespace iommufd::inline v0_1::dma {

struct Interval;

// One record of it: the bits in a page table, or the log of a device.
struct DirtyTrail {
    std::shared_ptr<const core::Hwpt> table;
    std::shared_ptr<Attachable> device;
    // Of the table's entries, in bytes; 0: any. A read that begins or ends within an entry loses its bit (Linux 7.3), so reads
    // begin and end with what was mapped at once, or at multiples of this.
    std::uint64_t largest_page;

    // From a clean state; `ranges` are for devices.
    Result<void> start(std::span<const Range> ranges) const;
    Result<void> stop() const;
    // Adds to the bitmap, of which bit 0 is the page at range.first. `keep` is for tables.
    Result<void> read(Range range, std::span<std::uint64_t> bitmap, core::Hwpt::Dirty after) const;
    // "hwpt 3 of 'iommufd0'", "the log of vfio-pci 0000:02:00.0"
    std::string describe() const;
    bool is(const DirtyTrail& other) const noexcept { return table == other.table && device == other.device; }
};

// Never changed once it is there: another takes its place.
struct DirtyPlan {
    DirtyFrom from = DirtyFrom::everything;
    std::string why;
    std::vector<DirtyTrail> trails;
    std::vector<Range> logged;  // by the devices' logs

    // Whether the trails tell of the interval; else all of it counts as written to.
    bool covers(const Interval& interval) const noexcept;
    // Where a read that is to reach `wanted` must end: see DirtyTrail::largest_page.
    Iova end_of_read(const Interval& interval, Iova wanted) const noexcept;
    // And where one must begin that is to tell of `wanted`.
    Iova start_of_read(const Interval& interval, Iova wanted) const noexcept;
};

// What a space keeps while it tracks.
struct DirtyState {
    // A sync that is in the kernel.
    struct Reading {
        Range range;
        const DirtyPlan* plan;
        Reading* next;
    };

    DirtyOptions options;
    std::shared_ptr<const DirtyPlan> plan;
    std::shared_ptr<const DirtyPlan> last_resort;  // everything
    bool changed = false;
    Reading* readings = nullptr;
    unsigned users = 0;  // who adds marks, or takes them
};

// One that may still go on, since it could not be stopped.
struct Unstopped {
    std::weak_ptr<const core::Hwpt> table;
    std::weak_ptr<Attachable> device;
    Error failure;

    // Nothing: the page table has gone, or the device was closed.
    std::optional<DirtyTrail> lock() const noexcept {
        DirtyTrail trail{.table = table.lock(), .device = device.lock(), .largest_page = 0};
        if (!trail.table && !trail.device) return std::nullopt;
        return trail;
    }
};

// At most `most` ranges that hold the given ones, which are ascending and apart: those with the least between them are joined.
void join_nearest(std::vector<Range>& ranges, std::size_t most);

}  // namespace iommufd::inline v0_1::dma
