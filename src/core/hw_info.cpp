// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/hw_info.hpp"

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {
namespace {

Result<HwInfo> query(const Context& context, DeviceId device, std::uint32_t flags, std::uint32_t type) {
    HwInfo info{};
    uapi::HwInfo command{.size = sizeof command,
                         .flags = flags,
                         .dev_id = device.value,
                         .data_len = static_cast<std::uint32_t>(info.data.size()),
                         .data_uptr = reinterpret_cast<std::uintptr_t>(info.data.data()),
                         .data_type = type,
                         .out_max_pasid_log2 = 0,
                         .reserved = {},
                         .out_capabilities = 0};
    if (const int result = context.node()->ioctl(uapi::kGetHwInfo, &command); result < 0)
        return failed(Operation::get_hw_info, -result, [&] {
            return compose("cannot ask the IOMMU of device ", device.value, " of '", context.label(),
                           "' what it can do");
        });
    info.type = static_cast<HwInfoType>(command.data_type);
    info.dirty_tracking = (command.out_capabilities & uapi::kHwCapDirtyTracking) != 0;
    info.pasid_exec = (command.out_capabilities & uapi::kHwCapPasidExec) != 0;
    info.pasid_privileged = (command.out_capabilities & uapi::kHwCapPasidPriv) != 0;
    info.ats_not_supported = (command.out_capabilities & uapi::kHwCapAtsNotSupported) != 0;
    info.max_pasid_log2 = command.out_max_pasid_log2;
    info.capabilities = command.out_capabilities;
    info.length = command.data_len;
    return info;
}

}  // namespace

Result<HwInfo> hw_info(const Context& context, DeviceId device) { return query(context, device, 0, 0); }

Result<HwInfo> hw_info(const Context& context, DeviceId device, HwInfoType type) {
    return query(context, device, uapi::kHwInfoInputType, static_cast<std::uint32_t>(type));
}

}  // namespace iommufd::inline v0_1::core
