// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/vfio_device.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "model/vfio_header.hpp"

namespace iommufd::inline v0_1::model {

using namespace uapi::vfio;

namespace {

// How much of each struct its first version had: up to the member that came later, or may be left out.
constexpr std::size_t kBindSize = offsetof(DeviceBindIommufd, token_uuid_ptr);
constexpr std::size_t kAttachSize = offsetof(DeviceAttachIommufdPt, pasid);
constexpr std::size_t kDetachSize = offsetof(DeviceDetachIommufdPt, pasid);
constexpr std::size_t kInfoSize = offsetof(uapi::vfio::DeviceInfo, cap_offset);

// The PASID of an attach or a detach, if its flags say that it has one.
template <class T>
int get_pasid(T& command, user::Address argument, bool takes_pasids, std::uint32_t& pasid) {
    if ((command.flags & ~(takes_pasids ? kAttachPasid : 0)) != 0) return -EINVAL;
    if ((command.flags & kAttachPasid) == 0) return 0;
    if (command.argsz < sizeof command) return -EINVAL;
    if (user::get(command, argument) < 0) return -EFAULT;
    pasid = command.pasid;
    return 0;
}

}  // namespace

bool VfioDevice::viable(const DeviceDescription& description) {
    return std::ranges::all_of(description.siblings, [](const Sibling& sibling) {
        return sibling.driver.empty() || sibling.driver == "vfio-pci" || sibling.driver == "pcieport";
    });
}

bool VfioDevice::bound() const {
    const TurnLock lock(turn_);
    return context_ != nullptr;
}

std::shared_ptr<Context> VfioDevice::context() const {
    const TurnLock lock(turn_);
    return context_;
}

bool VfioDevice::owned_by(const void* owner) const {
    const TurnLock lock(turn_);
    return owner_ == owner;
}

int VfioDevice::bind(const void* owner, user::Address argument) {
    std::uint32_t user_size = 0;
    if (user::get(user_size, argument) < 0) return -EFAULT;
    if (user_size < kBindSize) return -EINVAL;
    DeviceBindIommufd command{};
    if (const int rc = user::copy_struct_from(&command, sizeof command, argument, user_size); rc < 0)
        return rc;
    if (command.iommufd < 0 || (command.flags & ~kBindToken) != 0) return -EINVAL;

    const FileTable::Found found = files_.find(command.iommufd);  // may be the last to let go of it
    const TurnLock lock(turn_);
    if (owner_ == owner) return -EINVAL;
    if ((command.flags & kBindToken) != 0) return -EINVAL;  // only virtual functions have one
    const auto* const iommufd = dynamic_cast<const IommufdFile*>(found.file.get());
    if (iommufd == nullptr) return found || files_.is_open(command.iommufd) ? -EBADFD : -EBADF;
    if (owner_ != nullptr) return -EINVAL;
    if (!iommu_.safe_interrupts) return -EPERM;
    if (!group_is_viable_) return -EBUSY;
    std::uint32_t id = 0;
    if (const int rc = iommufd->context()->bind(endpoint_, id); rc < 0) return rc;
    if (user::put(argument + offsetof(DeviceBindIommufd, out_devid), id) < 0) {
        iommufd->context()->unbind(id);
        return -EFAULT;
    }
    owner_ = owner;
    context_ = iommufd->context();
    device_id_ = id;
    config_ = PciConfig(identity_);
    decode_memory();
    return 0;
}

// vfio-pci puts back what config space had when the device was opened, but for bus mastering, which the reset took.
void VfioDevice::reset() {
    revoke_dma_buffers(true);
    device_->reset();
    dma_.set_bus_master(config_.bus_master());
    if (polled_) polled_->refresh();
    revoke_dma_buffers(!config_.memory_enabled());
}

void VfioDevice::page_answered(bool there) {
    const TurnLock lock(turn_);
    device_->page_answered(there);
    if (polled_) polled_->refresh();
}

void VfioDevice::release(const void* owner) {
    std::shared_ptr<Context> last;  // may go with the device, outside the lock
    std::unique_ptr<Poller> ending;
    const TurnLock lock(turn_);
    if (owner_ != owner) return;
    irqs_.reset();
    dma_.set_bus_master(false);
    device_->reset();
    revoke_dma_buffers(true);
    exported_.clear();
    for (const auto& memory : memories_)
        if (memory) memory->withdraw();
    if (polled_) polled_->end();
    ending = std::move(poller_);
    context_->unbind(device_id_);
    last = std::move(context_);
    owner_ = nullptr;
}

int VfioDevice::attach(user::Address argument) {
    DeviceAttachIommufdPt command{};
    if (const int rc = vfio_header(command, argument, kAttachSize); rc < 0) return rc;
    std::uint32_t pasid = kNoPasid;
    if (const int rc = get_pasid(command, argument, takes_pasids_, pasid); rc < 0) return rc;
    if (const int rc = context_->attach(device_id_, pasid, command.pt_id); rc < 0) return rc;
    if (user::put(argument + offsetof(DeviceAttachIommufdPt, pt_id), command.pt_id) == 0) return 0;
    context_->detach(device_id_, kNoPasid);  // even where a PASID was attached
    return -EFAULT;
}

int VfioDevice::detach(user::Address argument) {
    DeviceDetachIommufdPt command{};
    if (const int rc = vfio_header(command, argument, kDetachSize); rc < 0) return rc;
    std::uint32_t pasid = kNoPasid;
    if (const int rc = get_pasid(command, argument, takes_pasids_, pasid); rc < 0) return rc;
    context_->detach(device_id_, pasid);
    return 0;
}

int VfioDevice::info(user::Address argument) const {
    DeviceInfo command{};
    if (const int rc = vfio_header(command, argument, kInfoSize); rc < 0) return rc;
    command.flags = kDeviceFlagPci | (identity_.has_reset ? kDeviceFlagReset : 0);
    command.num_regions = kPciNumRegions;
    command.num_irqs = kPciNumIrqs;
    return user::copy_to(argument, &command, kInfoSize);
}

int VfioDevice::irq_info(user::Address argument) const {
    IrqInfo command{};
    if (const int rc = vfio_header(command, argument, sizeof command); rc < 0) return rc;
    if (command.index >= kPciNumIrqs) return -EINVAL;
    command.flags = irqs_.flags(command.index);
    command.count = irqs_.count(command.index);
    return user::put(argument, command);
}

int VfioDevice::set_irqs(user::Address argument) {
    constexpr std::uint32_t kData = kIrqSetDataNone | kIrqSetDataBool | kIrqSetDataEventfd;
    constexpr std::uint32_t kActions = kIrqSetMask | kIrqSetUnmask | kIrqSetTrigger;
    IrqSet header{};
    if (const int rc = vfio_header(header, argument, sizeof header); rc < 0) return rc;
    if (header.index >= kPciNumIrqs || header.count >= ~0U - header.start) return -EINVAL;
    if ((header.flags & ~(kData | kActions)) != 0) return -EINVAL;
    const std::uint32_t vectors = irqs_.count(header.index);
    if (header.start >= vectors || header.start + header.count > vectors) return -EINVAL;
    std::size_t each = 0;
    switch (header.flags & kData) {
        case kIrqSetDataNone:
            break;
        case kIrqSetDataBool:
            each = sizeof(std::uint8_t);
            break;
        case kIrqSetDataEventfd:
            each = sizeof(std::int32_t);
            break;
        default:
            return -EINVAL;
    }
    if (header.argsz - sizeof header < header.count * each) return -EINVAL;
    std::vector<std::byte> data(header.count * each);
    if (user::copy_from(data.data(), argument + sizeof header, data.size()) < 0) return -EFAULT;
    return irqs_.set(header, data);
}

int VfioDevice::feature(user::Address argument) {
    DeviceFeature command{};
    if (const int rc = vfio_header(command, argument, sizeof command); rc < 0) return rc;
    constexpr std::uint32_t kOperations = kFeatureGet | kFeatureSet;
    if ((command.flags & ~(kFeatureMask | kOperations | kFeatureProbe)) != 0) return -EINVAL;
    if ((command.flags & kFeatureProbe) == 0 && (command.flags & kOperations) == kOperations) return -EINVAL;
    if ((command.flags & kFeatureMask) != kFeatureDmaBuf || !exports_bars_) return -ENOTTY;
    return export_dma_buffer(command.flags, argument + sizeof command,
                             static_cast<std::uint32_t>(command.argsz - sizeof command));
}

int VfioDevice::hot_reset(user::Address argument) const {
    PciHotReset header{};
    const int rc = vfio_header(header, argument, sizeof header);
    return rc < 0 ? rc : -ENODEV;  // the root bus has none
}

int VfioFile::ioctl(unsigned long request, user::Address argument) {
    if (request == kDeviceBindIommufd) return device_.bind(this, argument);
    if (!device_.owned_by(this)) return -EINVAL;
    switch (request) {
        case kDeviceAttachIommufdPt: {
            const TurnLock lock(device_.turn_);
            return device_.attach(argument);
        }
        case kDeviceDetachIommufdPt: {
            const TurnLock lock(device_.turn_);
            return device_.detach(argument);
        }
        case kDeviceGetInfo:
            return device_.info(argument);
        case kDeviceGetRegionInfo:
            return device_.region_info(argument);
        case kDeviceGetIrqInfo:
            return device_.irq_info(argument);
        case kDeviceSetIrqs:
            return device_.set_irqs(argument);
        case kDeviceFeature:
            return device_.feature(argument);
        case kDeviceReset: {
            if (!device_.identity_.has_reset) return -EINVAL;
            const TurnLock lock(device_.turn_);
            device_.reset();
            return 0;
        }
        case kDeviceGetPciHotResetInfo:
        case kDevicePciHotReset:
            return device_.hot_reset(argument);
        default:
            return -ENOTTY;
    }
}

}  // namespace iommufd::inline v0_1::model
