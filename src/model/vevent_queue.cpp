// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/vevent_queue.hpp"

#include <cerrno>
#include <limits>

namespace iommufd::inline v0_1::model {

void VeventQueue::report(std::span<const std::byte> data) {
    constexpr std::uint32_t kSequences = std::numeric_limits<std::int32_t>::max();
    const sys::Lock lock(mutex_);
    Event event{.header = {.flags = 0, .sequence = sequence_}, .data = {}};
    if (normal_ == depth_)
        event.header.flags = uapi::kVeventLost;
    else
        event.data.assign(data.begin(), data.end());
    const bool normal = !event.lost();
    // The news of a loss stays at the end, or it isn't told: the sequence shows the gap.
    if (!events_.empty() && events_.back().lost())
        events_.back() = std::move(event);
    else
        events_.push_back(std::move(event));
    if (normal) ++normal_;
    sequence_ = (sequence_ + 1) & kSequences;
    ready_.set(true);
}

ssize_t VeventQueue::read(user::Address buffer, std::size_t count) {
    constexpr std::size_t kHeader = sizeof(uapi::VeventHeader);
    if (count < kHeader) return -EINVAL;
    const sys::Lock lock(mutex_);
    std::size_t done = 0;
    int rc = 0;
    while (!events_.empty() && count - done >= kHeader) {
        const Event& event = events_.front();
        if (event.data.size() > count - done - kHeader) {
            if (done == 0) rc = -EINVAL;
            break;
        }
        if (user::put(buffer + done, event.header) < 0 ||
            user::copy_to(buffer + done + kHeader, event.data.data(), event.data.size()) < 0) {
            rc = -EFAULT;
            break;
        }
        if (!event.lost()) --normal_;
        done += kHeader + event.data.size();
        events_.pop_front();
    }
    ready_.set(!events_.empty());
    return done == 0 ? rc : static_cast<ssize_t>(done);
}

}  // namespace iommufd::inline v0_1::model
