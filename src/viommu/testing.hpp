// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For the tests of this layer: the model, behind an IOMMU that nests and has page requests, with Linux's rules for both.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <vector>

#include "iommufd/core/fault_queue.hpp"
#include "support/allocation_faults.hpp"
#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::viommu::testing {

// To the model a nested page table is one more of its parent's IOAS. A kernel's own memory is not what a test fails.
class GuestKernel final : public sys::FaultyKernel {
public:
    static constexpr std::uint32_t kTableType = 0x7ab1e;
    static constexpr std::uint32_t kEntryType = 0xe277;
    static constexpr std::uint32_t kLastEntry = 9;  // larger ones are refused
    static constexpr std::uint32_t kQueue = 4711;   // the fault queue's id

    using FaultyKernel::FaultyKernel;

    // What the IOMMU has, and refuses beside NEST_PARENT.
    bool nests = true;
    std::uint32_t refused_in_parents = 0;
    std::uint32_t refused_in_tables = 0;
    std::uint8_t pasid_bits = 0;
    bool dirty_tracking = false;
    int fail_attach = 0;  // a positive errno, once
    int fail_respond = 0;

    std::vector<std::uint32_t> flags;        // of every page table that was made
    std::vector<std::uint32_t> invalidated;  // entries
    std::vector<std::uint32_t> calls;        // entries of each invalidation
    std::vector<uapi::HwptPageResponse> answers;
    std::vector<std::size_t> writes;  // answers of each write

    // A device asks for pages: one group.
    void request(std::uint32_t device, std::initializer_list<std::uint64_t> addresses,
                 std::uint32_t pasid = 0) {
        const AllocationFaults::Armed unfailed(0);
        std::vector<uapi::HwptPgfault> group;
        for (const std::uint64_t address : addresses)
            group.push_back({.flags = (pasid != 0 ? uapi::kFaultPasidValid : 0),
                             .dev_id = device,
                             .pasid = pasid,
                             .grpid = 1,
                             .perm = uapi::kFaultPermRead,
                             .reserved = 0,
                             .addr = address,
                             .length = 0,
                             .cookie = 0});
        group.back().flags |= uapi::kFaultLastPage;
        waiting_.push_back(std::move(group));
    }
    // As when the device is detached: the kernel answers itself what was read.
    void answer_all() { read_.clear(); }

    int ioctl(int fd, unsigned long request, void* argument) override {
        const AllocationFaults::Armed unfailed(0);
        const std::lock_guard lock(mutex_);
        switch (request) {
            case uapi::kGetHwInfo:
                return hw_info(fd, *static_cast<uapi::HwInfo*>(argument));
            case uapi::kHwptAlloc:
                return alloc(fd, *static_cast<uapi::HwptAlloc*>(argument));
            case uapi::kHwptInvalidate:
                return invalidate(*static_cast<uapi::HwptInvalidate*>(argument));
            case uapi::kFaultQueueAlloc: {
                auto& command = *static_cast<uapi::FaultQueueAlloc*>(argument);
                queue_fd_ = ::eventfd(0, EFD_CLOEXEC);
                command.out_fault_id = kQueue;
                command.out_fault_fd = static_cast<std::uint32_t>(queue_fd_);
                return 0;
            }
            case uapi::kDestroy: {
                const std::uint32_t id = static_cast<uapi::Destroy*>(argument)->id;
                if (id == kQueue) return queue_fd_ < 0 ? 0 : -EBUSY;
                parents_.erase(id);
                break;
            }
            case uapi::vfio::kDeviceAttachIommufdPt:
                if (fail_attach != 0) return -std::exchange(fail_attach, 0);
                break;
            default:
                break;
        }
        return FaultyKernel::ioctl(fd, request, argument);
    }

    int close(int fd) override {
        if (fd != queue_fd_) return FaultyKernel::close(fd);
        queue_fd_ = -1;
        return ::close(fd);
    }

    ssize_t read(int fd, void* buffer, std::size_t length) override {
        const AllocationFaults::Armed unfailed(0);
        if (fd != queue_fd_) return FaultyKernel::read(fd, buffer, length);
        std::size_t done = 0;
        while (!waiting_.empty()) {
            auto& group = waiting_.front();
            const std::size_t bytes = group.size() * sizeof group[0];
            if (bytes > length - done) return done == 0 ? -EINVAL : static_cast<ssize_t>(done);
            std::uint32_t cookie = 1;  // the lowest that is free
            while (std::ranges::find(read_, cookie) != read_.end()) ++cookie;
            read_.push_back(cookie);
            for (auto& fault : group) fault.cookie = cookie;
            std::memcpy(static_cast<std::byte*>(buffer) + done, group.data(), bytes);
            done += bytes;
            waiting_.pop_front();
        }
        return static_cast<ssize_t>(done);
    }

    ssize_t write(int fd, const void* buffer, std::size_t length) override {
        const AllocationFaults::Armed unfailed(0);
        if (fd != queue_fd_) return FaultyKernel::write(fd, buffer, length);
        if (fail_respond != 0) return -std::exchange(fail_respond, 0);
        std::vector<uapi::HwptPageResponse> responses(length / sizeof(uapi::HwptPageResponse));
        std::memcpy(responses.data(), buffer, length);
        writes.push_back(responses.size());
        std::size_t done = 0;
        for (const auto& response : responses) {
            const auto cookie = std::ranges::find(read_, response.cookie);
            if (cookie == read_.end()) break;
            read_.erase(cookie);
            answers.push_back(response);
            ++done;
        }
        return done == 0 ? -EINVAL : static_cast<ssize_t>(done * sizeof responses[0]);
    }

private:
    int hw_info(int fd, uapi::HwInfo& command) {
        const int result = FaultyKernel::ioctl(fd, uapi::kGetHwInfo, &command);
        if (result < 0) return result;
        command.out_max_pasid_log2 = pasid_bits;
        if (dirty_tracking) command.out_capabilities |= uapi::kHwCapDirtyTracking;
        return result;
    }

    int alloc(int fd, uapi::HwptAlloc& command) {
        const auto parent = parents_.find(command.pt_id);
        const bool nested = parent != parents_.end();
        if ((command.flags & uapi::kHwptNestParent) != 0 &&
            (!nests || (command.flags & refused_in_parents) != 0))
            return -EOPNOTSUPP;
        if (nested && (command.data_type != kTableType || (command.flags & refused_in_tables) != 0))
            return -EOPNOTSUPP;
        uapi::HwptAlloc plain{.size = sizeof plain,
                              .flags = 0,
                              .dev_id = command.dev_id,
                              .pt_id = nested ? parent->second : command.pt_id};
        if (const int result = FaultyKernel::ioctl(fd, uapi::kHwptAlloc, &plain); result < 0) return result;
        command.out_hwpt_id = plain.out_hwpt_id;
        flags.push_back(command.flags);
        if ((command.flags & uapi::kHwptNestParent) != 0) parents_[plain.out_hwpt_id] = command.pt_id;
        return 0;
    }

    int invalidate(uapi::HwptInvalidate& command) {
        calls.push_back(command.entry_num);
        const std::uint32_t count = std::exchange(command.entry_num, 0);
        if (command.data_type != kEntryType) return -EINVAL;
        const auto* const entries = reinterpret_cast<const std::uint32_t*>(command.data_uptr);
        for (; command.entry_num < count; ++command.entry_num) {
            if (entries[command.entry_num] > kLastEntry) return -EINVAL;
            invalidated.push_back(entries[command.entry_num]);
        }
        return 0;
    }

    std::mutex mutex_;                                // for ioctls: what tests of several threads make
    std::map<std::uint32_t, std::uint32_t> parents_;  // to their IOAS
    int queue_fd_ = -1;
    std::deque<std::vector<uapi::HwptPgfault>> waiting_;
    std::vector<std::uint32_t> read_;  // cookies
};

struct Table {
    static constexpr std::uint32_t kType = GuestKernel::kTableType;
    std::uint32_t root;
};

struct Entry {
    static constexpr std::uint32_t kType = GuestKernel::kEntryType;
    std::uint32_t number;
};

}  // namespace iommufd::inline v0_1::viommu::testing
