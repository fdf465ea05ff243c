// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Events of a viommu on their way to a program (Linux: iommufd_veventq). It holds so many; of those that find
// no room, one entry tells, at the end, until a later event takes its place. Sequence numbers count all.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "model/object_table.hpp"
#include "model/ready_signal.hpp"
#include "model/user.hpp"
#include "sys/mutex.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {

struct Viommu;

struct VeventQueue final : Object {
    VeventQueue(ReadySignal ready, Viommu& on, std::uint32_t type_of_events, std::uint32_t depth)
        : viommu(&on), type(type_of_events), depth_(depth), ready_(std::move(ready)) {}

    void report(std::span<const std::byte> data) IOMMUFD_EXCLUDES(mutex_);
    ssize_t read(user::Address buffer, std::size_t count) IOMMUFD_EXCLUDES(mutex_);

    Viommu* const viommu;
    const std::uint32_t type;

private:
    struct Event {
        uapi::VeventHeader header;
        std::vector<std::byte> data;  // none where events were lost
        bool lost() const { return (header.flags & uapi::kVeventLost) != 0; }
    };

    const std::uint32_t depth_;
    sys::Mutex mutex_;
    ReadySignal ready_ IOMMUFD_GUARDED_BY(mutex_);
    std::deque<Event> events_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint32_t normal_ IOMMUFD_GUARDED_BY(mutex_) = 0;  // of them
    std::uint32_t sequence_ IOMMUFD_GUARDED_BY(mutex_) = 0;
};

}  // namespace iommufd::inline v0_1::model
