// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Another kernel whose IOMMUs have dirty bits, and handle them as Linux 7.3 does: a read stops at a hole, in silence, and loses
// the bit of an I/O page that it cuts (tests/kernel/dirty_facts_test.cpp). Reads that do either are counted.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "support/allocation_faults.hpp"
#include "sys/faulty_kernel.hpp"
#include "sys/mutex.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::support {

class DirtyKernel final : public sys::FaultyKernel {
public:
    static constexpr std::uint64_t kPage = 4096;

    using FaultyKernel::FaultyKernel;

    // Every device is behind an IOMMU of its own.
    bool separate_iommus = false;
    // Without dirty bits, from the n-th device on.
    std::uint32_t devices_with_bits = ~0U;
    // Of page table entries: as large as the mapping lets them be, up to this; a power of two.
    std::uint64_t largest_page = kPage;
    bool any_page_size = false;  // as AMD's IOMMU has
    // By the number of the page table, counted from 1 in the order in which they were made.
    std::map<unsigned, int> fail_start, fail_stop, fail_read;  // positive errnos
    std::function<void()> before_read;

    // As if the n-th page table's device had written there; false: its IOMMU didn't note it.
    bool device_writes(std::uint64_t iova, unsigned n = 1) {
        const AllocationFaults::Armed not_here(0);
        const sys::Lock lock(mutex_);
        Table& table = *std::ranges::find(tables_, n, [](const auto& entry) {
                            return entry.second.number;
                        })->second.self();
        if (table.on) table.dirty.insert(entry_of(iova).first);
        return table.on;
    }
    bool is_on(unsigned n = 1) const {
        const sys::Lock lock(mutex_);
        return std::ranges::any_of(
            tables_, [&](const auto& entry) { return entry.second.number == n && entry.second.on; });
    }
    unsigned on_when_attached() const { return on_when_attached_; }
    unsigned bad_reads() const { return bad_reads_; }
    unsigned reads() const { return reads_; }
    unsigned reads_that_keep() const { return reads_that_keep_; }

    int ioctl(int fd, unsigned long request, void* argument) override {
        using namespace uapi;
        const AllocationFaults::Armed not_here(0);
        switch (request) {
            case kHwptAlloc:
                return alloc(fd, *static_cast<HwptAlloc*>(argument));
            case kHwptSetDirtyTracking:
                return set(*static_cast<HwptSetDirtyTracking*>(argument));
            case kHwptGetDirtyBitmap:
                return read_bits(*static_cast<HwptGetDirtyBitmap*>(argument));
            case vfio::kDeviceAttachIommufdPt:
                if (const int refused = check(fd, *static_cast<vfio::DeviceAttachIommufdPt*>(argument)))
                    return refused;
                break;
            case kDestroy:
                return destroy(fd, *static_cast<Destroy*>(argument));
            case kIoasUnmap:
                forget(*static_cast<IoasUnmap*>(argument));
                break;
            default:
                break;
        }
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (result < 0) return result;
        const sys::Lock lock(mutex_);
        if (request == kIoasMap) {
            const auto& command = *static_cast<IoasMap*>(argument);
            areas_[command.iova] = command.iova + command.length;
        }
        if (request == kIoasMapFile) {
            const auto& command = *static_cast<IoasMapFile*>(argument);
            areas_[command.iova] = command.iova + command.length;
        }
        if (request == vfio::kDeviceBindIommufd) {
            devices_[fd] = static_cast<vfio::DeviceBindIommufd*>(argument)->out_devid;
            order_[devices_[fd]] = static_cast<std::uint32_t>(order_.size());
        }
        if (request == kGetHwInfo) {
            auto& command = *static_cast<HwInfo*>(argument);
            if (order_[command.dev_id] < devices_with_bits) command.out_capabilities |= kHwCapDirtyTracking;
            if (any_page_size) command.data_type = 4;
        }
        return result;
    }

private:
    struct Table {
        unsigned number;
        std::uint32_t device;
        bool can;
        bool on = false;
        std::set<std::uint64_t> dirty;  // the first addresses of entries

        Table* self() { return this; }
    };

    // The entry that an address lies in: as if all memory were in one piece.
    std::pair<std::uint64_t, std::uint64_t> entry_of(std::uint64_t iova) const IOMMUFD_REQUIRES(mutex_) {
        std::uint64_t size = kPage;
        auto area = areas_.upper_bound(iova);
        if (area == areas_.begin()) return {iova & ~(kPage - 1), (iova & ~(kPage - 1)) + kPage};
        --area;
        while (size < largest_page) {
            const std::uint64_t start = iova & ~(size * 2 - 1);
            if (start < area->first || start + size * 2 > area->second) break;
            size *= 2;
        }
        return {iova & ~(size - 1), (iova & ~(size - 1)) + size};
    }

    int alloc(int fd, uapi::HwptAlloc& command) {
        const bool can = (command.flags & uapi::kHwptDirtyTracking) != 0;
        command.flags &= ~uapi::kHwptDirtyTracking;
        const int result = FaultyKernel::ioctl(fd, uapi::kHwptAlloc, &command);
        const sys::Lock lock(mutex_);
        if (result == 0)
            tables_[command.out_hwpt_id] = {.number = ++made_, .device = command.dev_id, .can = can};
        return result;
    }

    // Forgotten before the kernel has freed it: its id may be another table's as soon as it has.
    int destroy(int fd, uapi::Destroy& command) {
        decltype(tables_)::node_type table;
        {
            const sys::Lock lock(mutex_);
            table = tables_.extract(command.id);
        }
        const int result = FaultyKernel::ioctl(fd, uapi::kDestroy, &command);
        const sys::Lock lock(mutex_);
        if (result < 0 && !table.empty()) tables_.insert(std::move(table));
        return result;
    }

    int check(int fd, const uapi::vfio::DeviceAttachIommufdPt& command) {
        const sys::Lock lock(mutex_);
        const auto table = tables_.find(command.pt_id);
        if (table == tables_.end()) return 0;
        if (separate_iommus && table->second.device != devices_[fd]) return -EINVAL;
        if (table->second.on) ++on_when_attached_;
        return 0;
    }

    int set(const uapi::HwptSetDirtyTracking& command) {
        const sys::Lock lock(mutex_);
        const auto found = tables_.find(command.hwpt_id);
        if (found == tables_.end()) return -ENOENT;
        Table& table = found->second;
        if (!table.can) return -EOPNOTSUPP;
        const bool on = (command.flags & uapi::kDirtyTrackingEnable) != 0;
        if (const auto failure = (on ? fail_start : fail_stop).find(table.number);
            failure != (on ? fail_start : fail_stop).end())
            return -failure->second;
        if (on) table.dirty.clear();
        table.on = on;
        return 0;
    }

    void forget(const uapi::IoasUnmap& command) {
        const sys::Lock lock(mutex_);
        const std::uint64_t last = command.iova + (command.length - 1);
        std::erase_if(areas_,
                      [&](const auto& area) { return area.first >= command.iova && area.first <= last; });
        for (auto& [id, table] : tables_)
            std::erase_if(table.dirty,
                          [&](std::uint64_t page) { return page >= command.iova && page <= last; });
    }

    int read_bits(const uapi::HwptGetDirtyBitmap& command) {
        if (before_read) before_read();
        const sys::Lock lock(mutex_);
        ++reads_;
        if ((command.flags & uapi::kDirtyBitmapNoClear) != 0) ++reads_that_keep_;
        const auto found = tables_.find(command.hwpt_id);
        if (found == tables_.end()) return -ENOENT;
        Table& table = found->second;
        if (const auto failure = fail_read.find(table.number); failure != fail_read.end())
            return -failure->second;
        auto* const words = reinterpret_cast<std::uint64_t*>(command.data);
        const std::uint64_t end = command.iova + command.length;
        std::uint64_t at = command.iova;
        while (at < end) {
            auto area = areas_.upper_bound(at);
            if (area == areas_.begin() || std::prev(area)->second <= at) {
                ++bad_reads_;
                return 0;  // a hole
            }
            const auto [first, behind] = entry_of(at);
            if (first < command.iova || behind > end) ++bad_reads_;
            if (table.dirty.contains(first)) {
                for (std::uint64_t page = std::max(first, command.iova); page < std::min(behind, end);
                     page += kPage) {
                    if (first < command.iova) break;  // lost
                    const std::uint64_t bit = (page - command.iova) / command.page_size;
                    words[bit / 64] |= std::uint64_t{1} << bit % 64;
                }
                if ((command.flags & uapi::kDirtyBitmapNoClear) == 0) table.dirty.erase(first);
            }
            at = behind;
        }
        return 0;
    }

    mutable sys::Mutex mutex_;
    std::map<std::uint32_t, Table> tables_ IOMMUFD_GUARDED_BY(mutex_);
    std::map<std::uint64_t, std::uint64_t> areas_ IOMMUFD_GUARDED_BY(mutex_);
    std::map<int, std::uint32_t> devices_ IOMMUFD_GUARDED_BY(mutex_);  // ids, by file
    std::map<std::uint32_t, std::uint32_t> order_ IOMMUFD_GUARDED_BY(mutex_);
    unsigned made_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::atomic<unsigned> on_when_attached_ = 0;
    std::atomic<unsigned> bad_reads_ = 0;
    std::atomic<unsigned> reads_ = 0;
    std::atomic<unsigned> reads_that_keep_ = 0;
};

}  // namespace iommufd::inline v0_1::support
