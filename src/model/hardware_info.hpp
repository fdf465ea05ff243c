// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What an IOMMU's registers say, as its driver hands them on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "iommufd/model/machine.hpp"

namespace iommufd::inline v0_1::model {

struct HardwareInfo {
    std::uint32_t type =
        0;  // uapi::kHwInfo...; none where the kernel that is played tells nothing of that IOMMU
    std::vector<std::byte> data = {};

    static HardwareInfo of(const Description& description);
};

// The extended feature register of an AMD IOMMU.
std::uint64_t amd_features_of(const Description& description);

}  // namespace iommufd::inline v0_1::model
