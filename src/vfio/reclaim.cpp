// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/reclaim.hpp"

#include <cstddef>

#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::vfio {

void reclaim(const sys::Fd& device) noexcept {
    namespace abi = uapi::vfio;
    (void)device.ioctl(abi::kDeviceReset, nullptr);
    abi::DeviceDetachIommufdPt detach{
        .argsz = offsetof(abi::DeviceDetachIommufdPt, pasid), .flags = 0, .pasid = 0};
    (void)device.ioctl(abi::kDeviceDetachIommufdPt, &detach);
}

}  // namespace iommufd::inline v0_1::vfio
