// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/vdpa_device.hpp"

#include <cerrno>
#include <vector>

namespace iommufd::inline v0_1::model {

using namespace uapi::vhost;

namespace {

constexpr std::uint8_t kDriverOk = 4;
constexpr std::uint8_t kFeaturesOk = 8;
constexpr std::uint16_t kQueueMax = 256;
constexpr std::uint32_t kOne = 1;  // queue, group and address space

constexpr std::uint64_t bit(unsigned number) { return std::uint64_t{1} << number; }

constexpr std::uint64_t kKnownBackendFeatures = bit(kIotlbMsgV2) | bit(kIotlbBatch) | bit(kIotlbAsid) |
                                                bit(kSuspend) | bit(kResume) | bit(kEnableAfterDriverOk) |
                                                bit(kDescAsid) | bit(kIotlbPersist);

}  // namespace

VdpaDevice::VdpaDevice(Hardware& hardware, Worker& worker, const DeviceDescription& description)
    : name_(description.name),
      offers_persist_(description.iotlb_persist),
      worker_(worker),
      disk_(description.disk_size),
      port_(hardware.blocked, description.name) {}

int VdpaDevice::open() {
    const sys::Lock lock(mutex_);
    if (opened_) return -EBUSY;
    opened_ = true;
    return 0;
}

void VdpaDevice::close() {
    const sys::Lock lock(mutex_);
    reset();
    worker_.forget(queue_.kick);
    queue_ = {};
    config_call_ = {};
    table_.clear();
    port_.iotlb().clear();
    has_address_space_ = false;
    in_batch_ = false;
    backend_features_ = 0;
    owned_ = false;
    memory_ = nullptr;
    opened_ = false;
}

void VdpaDevice::count(Leaks& leaks) const {
    const sys::Lock lock(mutex_);
    leaks.devices += opened_ ? 1 : 0;
    leaks.mappings += table_.size();
}

bool VdpaDevice::driver_ok() const { return (status_ & kDriverOk) != 0; }

void VdpaDevice::reset() {
    queue_.ready = false;
    queue_.call_armed = false;
    // The size stays.
    queue_.ring = SplitRing{.size = queue_.ring.size};
    if ((backend_features_ & bit(kIotlbPersist)) == 0) port_.iotlb().clear();
    suspended_ = false;
    pending_kick_ = false;
    features_ = 0;
    status_ = 0;
}

int VdpaDevice::ioctl(unsigned long request, user::Address argument) {
    const sys::Lock lock(mutex_);
    switch (request) {
        case kSetBackendFeatures:
            return set_backend_features(argument);
        case kGetBackendFeatures:
            return user::put(argument, offered_backend_features());
        case kVdpaGetDeviceId:
            return user::put(argument, VirtioBlk::kDeviceId);
        case kVdpaGetStatus:
            return user::put(argument, status_);
        case kVdpaSetStatus:
            return set_status(argument);
        case kVdpaGetConfig:
            return config(argument, false);
        case kVdpaSetConfig:
            return config(argument, true);
        case kVdpaGetConfigSize:
            return user::put(argument, std::uint32_t{VirtioBlk::kConfigSize});
        case kVdpaSetConfigCall:
            return set_config_call(argument);
        case kGetFeatures:
            return user::put(argument, VirtioBlk::kFeatures);
        case kSetFeatures:
            return set_features(argument);
        case kVdpaGetVringNum:
            return user::put(argument, kQueueMax);
        case kVdpaGetVqsCount:
        case kVdpaGetGroupNum:
        case kVdpaGetAsNum:
            return user::put(argument, kOne);
        case kVdpaGetIovaRange:
            return user::put(argument, VdpaIovaRange{.first = 0, .last = ~std::uint64_t{0}});
        case kVdpaSuspend:
            return suspend(true);
        case kVdpaResume:
            return suspend(false);
        case kSetOwner:
            return set_owner();
        default:
            return is_callers() ? queue_ioctl(request, argument) : -EPERM;
    }
}

int VdpaDevice::set_owner() {
    if (owned_) return -EBUSY;
    if (const int rc = caller().memory(memory_); rc < 0) return rc;
    owned_ = true;
    return 0;
}

// Of the process that called VHOST_SET_OWNER, however it is shared.
bool VdpaDevice::is_callers() const {
    std::shared_ptr<AddressSpace> memory;
    return owned_ && caller().memory(memory) == 0 && memory == memory_;
}

int VdpaDevice::set_features(user::Address argument) {
    std::uint64_t features = 0;
    if ((status_ & kFeaturesOk) != 0) return -EBUSY;
    if (user::get(features, argument) < 0) return -EFAULT;
    if ((features & VirtioBlk::kAccessPlatform) == 0) return -EINVAL;
    features_ = features & VirtioBlk::kFeatures;
    return 0;
}

std::uint64_t VdpaDevice::offered_backend_features() const {
    return bit(kIotlbMsgV2) | bit(kIotlbBatch) | bit(kIotlbAsid) | bit(kSuspend) | bit(kResume) |
           bit(kEnableAfterDriverOk) | (offers_persist_ ? bit(kIotlbPersist) : 0);
}

int VdpaDevice::set_backend_features(user::Address argument) {
    std::uint64_t features = 0;
    if (user::get(features, argument) < 0) return -EFAULT;
    if ((features & ~kKnownBackendFeatures) != 0) return -EOPNOTSUPP;
    if ((features & bit(kDescAsid)) != 0) return (features & bit(kIotlbAsid)) == 0 ? -EINVAL : -EOPNOTSUPP;
    if ((features & bit(kIotlbPersist)) != 0 && !offers_persist_) return -EOPNOTSUPP;
    backend_features_ = features;
    return 0;
}

int VdpaDevice::set_status(user::Address argument) {
    std::uint8_t status = 0;
    if (user::get(status, argument) < 0) return -EFAULT;
    if (status == 0) return reset(), 0;
    if ((status_ & ~status) != 0) return -EINVAL;  // bits go away by a reset only
    status_ = status;
    return 0;
}

int VdpaDevice::config(user::Address argument, bool set) {
    VdpaConfig range{};
    if (user::get(range, argument) < 0) return -EFAULT;
    if (range.len == 0 || range.off > VirtioBlk::kConfigSize ||
        range.len > VirtioBlk::kConfigSize - range.off)
        return -EINVAL;
    const user::Address data = argument + sizeof range;
    if (set) {  // nothing in it can be changed
        std::vector<std::byte> ignored(range.len);
        return user::copy_from(ignored.data(), data, ignored.size());
    }
    return user::copy_to(data, disk_.config().data() + range.off, range.len);
}

int VdpaDevice::set_config_call(user::Address argument) {
    std::int32_t fd = -1;
    if (user::get(fd, argument) < 0) return -EFAULT;
    EventFd taken;
    if (fd != -1)
        if (const int rc = EventFd::take(fd, taken); rc < 0) return rc;
    config_call_ = std::move(taken);
    return 0;
}

int VdpaDevice::suspend(bool on) {
    if (!driver_ok()) return 0;
    if (!on && pending_kick_) {
        while (serve_available()) {
        }
        pending_kick_ = false;
    }
    suspended_ = on;
    return 0;
}

}  // namespace iommufd::inline v0_1::model
