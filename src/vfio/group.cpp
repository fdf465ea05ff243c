// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/group.hpp"

#include <algorithm>

#include "error/compose.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::vfio {
namespace {

// Drivers that leave DMA to others, as the kernel has it (driver_managed_dma). Those of VFIO can be told by
// their device's folder.
constexpr std::string_view kHarmless[] = {"pcieport", "pci-stub"};

}  // namespace

bool is_of_vfio(sys::Kernel& kernel, const std::string& folder) {
    std::vector<std::string> files;
    return kernel.readdir(compose(folder, "/vfio-dev").c_str(), files) >= 0;
}

bool spoils_group(sys::Kernel& kernel, const std::string& folder, std::string_view driver) {
    return !driver.empty() && std::ranges::find(kHarmless, driver) == std::end(kHarmless) &&
           !is_of_vfio(kernel, folder);
}

std::vector<GroupMember> group_members(sys::Kernel& kernel, const std::string& folder) {
    const std::string list = compose(folder, "/iommu_group/devices");
    std::vector<std::string> names;
    if (kernel.readdir(list.c_str(), names) < 0) return {};
    std::vector<GroupMember> members;
    for (std::string& name : names) {
        const std::string device = compose(list, "/", name);
        std::string driver = link_target_name(kernel, device, "driver");
        const bool spoils = spoils_group(kernel, device, driver);
        members.push_back({.device = std::move(name), .driver = std::move(driver), .spoils = spoils});
    }
    return members;
}

std::string list_members(const std::vector<GroupMember>& members) {
    std::string text;
    for (const GroupMember& member : members)
        text += compose(text.empty() ? "" : ", ", member.device, " (",
                        member.driver.empty() ? "no driver" : member.driver, ")");
    return text;
}

std::string group_number(sys::Kernel& kernel, const std::string& folder) {
    return link_target_name(kernel, folder, "iommu_group");
}

}  // namespace iommufd::inline v0_1::vfio
