// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The IOMMU group of a device: the devices that no IOMMU can keep apart. It is viable, so that one program
// may have any of them, when no kernel driver does DMA for another one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::vfio {

struct GroupMember {
    std::string device;  // "0000:02:00.1"
    std::string driver;  // empty: none
    bool spoils;         // its driver does DMA for the kernel
};

// Whether a driver of VFIO's has the device whose folder in /sys is given.
bool is_of_vfio(sys::Kernel& kernel, const std::string& folder);

// Whether the driver called `driver`, which has the device in `folder`, does DMA for the kernel. No driver: no.
bool spoils_group(sys::Kernel& kernel, const std::string& folder, std::string_view driver);

// Of the device whose folder in /sys is given; empty where it has no group.
std::vector<GroupMember> group_members(sys::Kernel& kernel, const std::string& folder);

// "0000:02:00.1 (nvme), 0000:02:00.2 (no driver)".
std::string list_members(const std::vector<GroupMember>& members);

// "7"; empty where it has no group.
std::string group_number(sys::Kernel& kernel, const std::string& folder);

}  // namespace iommufd::inline v0_1::vfio
