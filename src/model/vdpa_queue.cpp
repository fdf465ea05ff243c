// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The queue of a vDPA device: its ioctls, and what happens when it is kicked.
#include <bit>
#include <cerrno>

#include "model/vdpa_device.hpp"

namespace iommufd::inline v0_1::model {

using namespace uapi::vhost;

namespace {

constexpr std::uint32_t kQueueMax = 256;
constexpr std::uint64_t kAvailableAlignment = 2;
constexpr std::uint64_t kUsedAlignment = 4;
constexpr std::uint32_t kLogs = 1;

// An eventfd out of a VringFile: none for -1.
int take_file(user::Address argument, EventFd& taken) {
    VringFile file{};
    if (user::get(file, argument) < 0) return -EFAULT;
    return file.fd == -1 ? 0 : EventFd::take(file.fd, taken);
}

}  // namespace

int VdpaDevice::queue_ioctl(unsigned long request, user::Address argument) {
    VringState state{};
    if (user::get(state.index, argument) < 0) return -EFAULT;
    if (state.index != 0) return -ENOBUFS;  // there is one queue
    switch (request) {
        case kSetVringNum:
            return set_queue_size(argument);
        case kSetVringAddr:
            return set_queue_address(argument);
        case kSetVringBase:
            return set_queue_base(argument);
        case kGetVringBase:
            state.num = queue_.ring.next_available;
            return user::put(argument, state);
        case kVdpaSetVringEnable:
            if (user::get(state, argument) < 0) return -EFAULT;
            return enable_queue(state.num != 0), 0;
        case kVdpaGetVringGroup:
            state.num = 0;
            return user::put(argument, state);
        case kVdpaSetGroupAsid:
            if (user::get(state, argument) < 0) return -EFAULT;
            if (state.num != 0) return -EINVAL;  // one address space
            return driver_ok() ? -EBUSY : 0;
        case kVdpaGetVringDescGroup:
        case kVdpaGetVringSize:
            return -EOPNOTSUPP;
        case kSetVringKick:
            return set_queue_kick(argument);
        case kSetVringCall: {
            EventFd taken;
            if (const int rc = take_file(argument, taken); rc < 0) return rc;
            queue_.call_armed = static_cast<bool>(taken);
            queue_.call = std::move(taken);
            return 0;
        }
        case kSetVringErr: {
            EventFd taken;
            if (const int rc = take_file(argument, taken); rc < 0) return rc;
            queue_.error = std::move(taken);
            return 0;
        }
        default:
            return -ENOTTY;
    }
}

int VdpaDevice::set_queue_size(user::Address argument) {
    VringState state{};
    if (user::get(state, argument) < 0) return -EFAULT;
    if (state.num > kQueueMax || !std::has_single_bit(state.num)) return -EINVAL;
    queue_.ring.size = state.num;
    return 0;
}

int VdpaDevice::set_queue_address(user::Address argument) {
    VringAddr address{};
    if (user::get(address, argument) < 0) return -EFAULT;
    if ((address.flags & ~kLogs) != 0) return -EOPNOTSUPP;
    if (address.avail_user_addr % kAvailableAlignment != 0 || address.used_user_addr % kUsedAlignment != 0 ||
        address.log_guest_addr % kUsedAlignment != 0)
        return -EINVAL;
    if (driver_ok() && !suspended_) return -EINVAL;
    queue_.ring.descriptors = address.desc_user_addr;
    queue_.ring.available = address.avail_user_addr;
    queue_.ring.used = address.used_user_addr;
    return 0;
}

int VdpaDevice::set_queue_base(user::Address argument) {
    VringState state{};
    if (user::get(state, argument) < 0) return -EFAULT;
    if (state.num > 0xffff) return -EINVAL;
    if (driver_ok() && !suspended_) return -EINVAL;
    queue_.ring.next_available = static_cast<std::uint16_t>(state.num);
    return 0;
}

int VdpaDevice::set_queue_kick(user::Address argument) {
    EventFd taken;
    if (const int rc = take_file(argument, taken); rc < 0) return rc;
    Worker::Watch watch = 0;
    if (taken) watch = worker_.watch(std::move(taken), [this] { kicked(); });
    worker_.forget(std::exchange(queue_.kick, watch));
    return 0;
}

void VdpaDevice::enable_queue(bool on) {
    // No request is in flight here: what was available has been used.
    if (on && !queue_.ready) queue_.ring.next_used = queue_.ring.next_available;
    queue_.ready = on;
}

void VdpaDevice::kicked() {
    // The lock is let go of between requests, so that a driver which never stops can be stopped.
    while (true) {
        const sys::Lock lock(mutex_);
        if (suspended_ && driver_ok()) pending_kick_ = true;
        if (suspended_ || !serve_available()) return;
    }
}

// One request, if there is one.
bool VdpaDevice::serve_available() {
    if (!driver_ok() || !queue_.ready) return false;
    SplitRing::Chain chain;
    switch (queue_.ring.take(port_, chain)) {
        case SplitRing::Next::none:
            return false;
        case SplitRing::Next::broken:
            return queue_.error.signal(), false;
        case SplitRing::Next::chain:
            break;
    }
    std::uint32_t written = 0;
    const bool served = disk_.serve(port_, chain, written);
    const bool given_back = queue_.ring.give_back(port_, chain.head, written);
    if (!served || !given_back) return queue_.error.signal(), false;
    if (queue_.call_armed && queue_.ring.wants_interrupt(port_)) queue_.call.signal();
    return true;
}

}  // namespace iommufd::inline v0_1::model
