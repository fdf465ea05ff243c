// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Page faults on their way to a program, and its answers (Linux: iommufd_fault). It reads whole groups,
// each under a cookie with which it is answered; what it doesn't answer is answered for it when the device
// leaves the page table.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "model/object_table.hpp"
#include "model/ready_signal.hpp"
#include "model/user.hpp"
#include "sys/mutex.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {

struct BoundDevice;

// How a device is attached where it faulted.
struct Attachment {
    const BoundDevice* device;
    std::uint32_t pasid;
    bool operator==(const Attachment&) const = default;
};

// Told once, under locks: whether the page is there now.
using OnAnswer = std::function<void(bool there)>;

struct FaultQueue final : Object {
    explicit FaultQueue(ReadySignal ready) : ready_(std::move(ready)) {}

    // Every group has one fault: nothing here sends more than a last one.
    void deliver(const Attachment& attachment, const uapi::HwptPgfault& fault, OnAnswer answered = {})
        IOMMUFD_EXCLUDES(mutex_);
    // The faults of an attachment that is no more: no page will be there.
    void discard(const Attachment& attachment) IOMMUFD_EXCLUDES(mutex_);

    ssize_t read(user::Address buffer, std::size_t count) IOMMUFD_EXCLUDES(mutex_);
    ssize_t write(user::Address buffer, std::size_t count) IOMMUFD_EXCLUDES(mutex_);

private:
    struct Group {
        Attachment attachment;
        uapi::HwptPgfault fault;
        OnAnswer answered;

        void answer(bool there) const {
            if (answered) answered(there);
        }
    };

    std::uint32_t free_cookie() const IOMMUFD_REQUIRES(mutex_);

    sys::Mutex mutex_;
    ReadySignal ready_ IOMMUFD_GUARDED_BY(mutex_);
    std::deque<Group> waiting_ IOMMUFD_GUARDED_BY(mutex_);
    std::map<std::uint32_t, Group> unanswered_ IOMMUFD_GUARDED_BY(mutex_);  // by cookie
};

}  // namespace iommufd::inline v0_1::model
