// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Hardware page tables, and the commands that this IOMMU has no feature for: they check their arguments in
// Linux's order and then say what a driver without the feature says.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint32_t kMostEntries = 1U << 19;

// QEMU's intel-iommu in legacy mode.
constexpr uapi::HwInfoVtd kVtd{.flags = 0, .reserved = 0, .cap_reg = 0xd2008c222f0686, .ecap_reg = 0xf00f4a};

}  // namespace

int Context::hwpt_alloc(uapi::HwptAlloc& command, const Call& call) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    if ((command.data_type == uapi::kHwptDataNone) != (command.data_len == 0)) return -EINVAL;
    const sys::Lock lock(mutex_);
    if (objects_.find<BoundDevice>(command.dev_id) == nullptr) return -ENOENT;
    Ioas* const ioas = quiet_ioas(command.pt_id);
    if (ioas == nullptr) {
        // A nested page table needs a parent that nests, which this IOMMU can't.
        return objects_.find<Hwpt>(command.pt_id) != nullptr ? -EOPNOTSUPP : -EINVAL;
    }
    if (command.flags != 0 || command.data_len != 0) return -EOPNOTSUPP;
    Hwpt* hwpt = nullptr;
    if (const int rc = make_hwpt(*ioas, false, nullptr, hwpt); rc < 0) return rc;
    command.out_hwpt_id = hwpt->id;
    const int rc = call.reply(command);
    if (rc < 0) drop_hwpt(*hwpt);
    return rc;
}

int Context::get_hw_info(uapi::HwInfo& command, const Call& call) {
    const bool reserved = std::ranges::any_of(command.reserved, [](auto byte) { return byte != 0; });
    if ((command.flags & ~uapi::kHwInfoInputType) != 0 || reserved) return -EOPNOTSUPP;
    // Without the flag the field is only an output.
    if ((command.flags & uapi::kHwInfoInputType) == 0) command.data_type = uapi::kHwInfoNone;
    const sys::Lock lock(mutex_);
    if (objects_.find<BoundDevice>(command.dev_id) == nullptr) return -ENOENT;
    if (command.data_type != uapi::kHwInfoNone && command.data_type != uapi::kHwInfoVtd) return -EOPNOTSUPP;
    const std::uint32_t room = command.data_len;
    const std::uint32_t known = std::min<std::uint32_t>(room, sizeof kVtd);
    if (user::copy_to(command.data_uptr, &kVtd, known) < 0) return -EFAULT;
    constexpr std::array<std::byte, 256> kZeroes{};
    for (std::uint32_t done = known; done < room;) {
        const std::uint32_t now = std::min<std::uint32_t>(room - done, kZeroes.size());
        if (user::copy_to(command.data_uptr + done, kZeroes.data(), now) < 0) return -EFAULT;
        done += now;
    }
    command.data_len = sizeof kVtd;
    command.data_type = uapi::kHwInfoVtd;
    command.out_max_pasid_log2 = 0;
    command.out_capabilities = uapi::kHwCapAtsNotSupported;
    return call.reply(command);
}

int Context::hwpt_set_dirty_tracking(uapi::HwptSetDirtyTracking& command, const Call&) {
    if ((command.flags & ~uapi::kDirtyTrackingEnable) != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    return objects_.find<Hwpt>(command.hwpt_id) == nullptr ? -ENOENT : -EOPNOTSUPP;
}

int Context::hwpt_get_dirty_bitmap(uapi::HwptGetDirtyBitmap& command, const Call&) {
    if ((command.flags & ~uapi::kDirtyBitmapNoClear) != 0 || command.reserved != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    const Hwpt* const hwpt = objects_.find<Hwpt>(command.hwpt_id);
    if (hwpt == nullptr) return -ENOENT;
    if (command.length == 0) return -EINVAL;
    const std::uint64_t last = command.iova + command.length - 1;
    if (last < command.iova) return -EOVERFLOW;
    const std::uint64_t ends = command.iova | (last + 1);
    if ((ends & (hwpt->ioas->iopt.alignment() - 1)) != 0) return -EINVAL;
    if (command.page_size == 0 || (ends & (command.page_size - 1)) != 0) return -EINVAL;
    return -EOPNOTSUPP;
}

int Context::hwpt_invalidate(uapi::HwptInvalidate& command, const Call& call) {
    const auto check = [&]() IOMMUFD_REQUIRES(mutex_) {
        if (command.reserved != 0) return -EOPNOTSUPP;
        const bool entries = command.entry_num != 0;
        if (entries && (command.data_uptr == 0 || command.entry_len == 0 || command.entry_len > user::kPage ||
                        command.entry_num > kMostEntries))
            return -EINVAL;
        return objects_.find(command.hwpt_id) == nullptr ? -ENOENT : -EINVAL;
    };
    const sys::Lock lock(mutex_);
    const int rc = check();
    command.entry_num = 0;  // written whatever happened
    return call.reply(command) < 0 ? -EFAULT : rc;
}

int Context::fault_queue_alloc(uapi::FaultQueueAlloc&, const Call&) { return -EOPNOTSUPP; }

int Context::viommu_alloc(uapi::ViommuAlloc& command, const Call&) {
    if (command.flags != 0 || command.type == uapi::kViommuDefault) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    return objects_.find<BoundDevice>(command.dev_id) == nullptr ? -ENOENT : -EOPNOTSUPP;
}

// No vIOMMU can exist that the next three could name.
int Context::vdevice_alloc(uapi::VdeviceAlloc&, const Call&) { return -ENOENT; }

int Context::veventq_alloc(uapi::VeventqAlloc& command, const Call&) {
    if (command.flags != 0 || command.reserved != 0 || command.type == 0) return -EOPNOTSUPP;
    if (command.veventq_depth == 0 || command.veventq_depth > kMostEntries) return -EINVAL;
    return -ENOENT;
}

int Context::hw_queue_alloc(uapi::HwQueueAlloc& command, const Call&) {
    if (command.flags != 0 || command.type == 0) return -EOPNOTSUPP;
    if (command.length == 0) return -EINVAL;
    if (command.nesting_parent_iova + (command.length - 1) < command.nesting_parent_iova) return -EOVERFLOW;
    return -ENOENT;
}

// A kernel without CONFIG_IOMMUFD_NOIOMMU.
int Context::ioas_noiommu_get_pa(uapi::IoasNoiommuGetPa&, const Call&) { return -EOPNOTSUPP; }

}  // namespace iommufd::inline v0_1::model
