// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the IOMMU behind a bound device can do (GET_HW_INFO).
//
// Threads: a value. Linux: 6.6 (capabilities 6.7, PASID 6.15, a chosen data type 6.17).
#pragma once

#include <array>
#include <cstddef>
#include <optional>

#include "iommufd/core/context.hpp"

namespace iommufd::inline v0_1::core {

// The kernel's numbers (enum iommu_hw_info_type); others may come.
enum class HwInfoType : std::uint32_t {
    none = 0,
    intel_vtd = 1,
    arm_smmuv3 = 2,
    tegra241_cmdqv = 3,
    amd = 4
};

struct HwInfo {
    HwInfoType type;
    bool dirty_tracking;  // a hwpt of this device may be allocated with dirty tracking
    bool pasid_exec;
    bool pasid_privileged;
    bool ats_not_supported;
    unsigned max_pasid_log2;  // 0: no PASIDs
    std::uint64_t capabilities;
    std::uint32_t length;            // of the data that the kernel has, in bytes; it may be more than `data`
    std::array<std::byte, 64> data;  // registers, as the type says (struct iommu_hw_info_vtd, ...)
};

// ENOENT (an mdev has none), EOPNOTSUPP (noiommu, or no such `type`), ENOTTY before Linux 6.6.
IOMMUFD_EXPORT Result<HwInfo> hw_info(const Context& context, DeviceId device);
// Asks for one type where the IOMMU has several. Linux 6.17.
IOMMUFD_EXPORT Result<HwInfo> hw_info(const Context& context, DeviceId device, HwInfoType type);

}  // namespace iommufd::inline v0_1::core
