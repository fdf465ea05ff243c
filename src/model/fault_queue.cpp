// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/fault_queue.hpp"

#include <cerrno>
#include <new>
#include <utility>

namespace iommufd::inline v0_1::model {

void FaultQueue::deliver(const Attachment& attachment, const uapi::HwptPgfault& fault, OnAnswer answered) {
    const sys::Lock lock(mutex_);
    waiting_.push_back({.attachment = attachment, .fault = fault, .answered = std::move(answered)});
    ready_.set(true);
}

void FaultQueue::discard(const Attachment& attachment) {
    const sys::Lock lock(mutex_);
    const auto belongs_to_it = [&](const Group& group) {
        if (group.attachment != attachment) return false;
        group.answer(false);
        return true;
    };
    std::erase_if(waiting_, belongs_to_it);
    std::erase_if(unanswered_, [&](const auto& entry) { return belongs_to_it(entry.second); });
    ready_.set(!waiting_.empty());
}

std::uint32_t FaultQueue::free_cookie() const {
    std::uint32_t cookie = 1;
    for (const auto& [taken, group] : unanswered_) {
        if (taken != cookie) break;
        ++cookie;
    }
    return cookie;
}

ssize_t FaultQueue::read(user::Address buffer, std::size_t count) {
    constexpr std::size_t kSize = sizeof(uapi::HwptPgfault);
    if (count % kSize != 0) return -ESPIPE;
    const sys::Lock lock(mutex_);
    std::size_t done = 0;
    int rc = 0;
    while (!waiting_.empty()) {
        if (count - done < kSize) {
            if (done == 0) rc = -EINVAL;
            break;
        }
        Group& group = waiting_.front();
        group.fault.cookie = free_cookie();
        try {
            unanswered_.emplace(group.fault.cookie, group);
        } catch (const std::bad_alloc&) {
            rc = -ENOMEM;
            break;
        }
        if (user::put(buffer + done, group.fault) < 0) {
            unanswered_.erase(group.fault.cookie);
            rc = -EFAULT;
            break;
        }
        waiting_.pop_front();
        done += kSize;
    }
    ready_.set(!waiting_.empty());
    return done == 0 ? rc : static_cast<ssize_t>(done);
}

ssize_t FaultQueue::write(user::Address buffer, std::size_t count) {
    constexpr std::size_t kSize = sizeof(uapi::HwptPageResponse);
    if (count % kSize != 0) return -ESPIPE;
    const sys::Lock lock(mutex_);
    const auto answer = [&](std::size_t at) IOMMUFD_REQUIRES(mutex_) {
        uapi::HwptPageResponse response{};
        if (user::get(response, buffer + at) < 0) return -EFAULT;
        if (response.code != uapi::kPageResponseSuccess && response.code != uapi::kPageResponseInvalid)
            return -EINVAL;
        const auto group = unanswered_.find(response.cookie);
        if (group == unanswered_.end()) return -EINVAL;
        group->second.answer(response.code == uapi::kPageResponseSuccess);
        unanswered_.erase(group);
        return 0;
    };
    for (std::size_t done = 0; done < count; done += kSize)
        if (const int rc = answer(done); rc < 0) return done == 0 ? rc : static_cast<ssize_t>(done);
    return static_cast<ssize_t>(count);
}

}  // namespace iommufd::inline v0_1::model
