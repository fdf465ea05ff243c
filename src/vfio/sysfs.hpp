// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What sysfs says of a device: where it is, who drives it, and by which file VFIO gives it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::vfio {

struct PciAddress {
    unsigned domain;
    unsigned bus;
    unsigned device;
    unsigned function;

    // "0000:02:00.0"
    std::string text() const;
};

// "0000:02:00.0" or "02:00.0", hexadecimal.
std::optional<PciAddress> parse_pci_address(std::string_view text);

// "0000:02:00.0" for "02:00.0"; what is no PCI address as it is.
std::string full_name(std::string_view device);

// Where sysfs has the PCI devices, and the one called "0000:02:00.0".
inline constexpr std::string_view kPciDevices = "/sys/bus/pci/devices";
std::string pci_folder(std::string_view device);

// The device's folder in /sys, by its PCI address, an mdev's UUID, or the path itself. EINVAL: none of these;
// ENOENT: there is no such device; ENOTDIR.
Result<std::string> device_folder(sys::Kernel& kernel, std::string_view where);

// The last component of a path.
std::string_view base_name(std::string_view path);

// Whether the device in `folder` is a bridge, by its class: it stays the kernel's.
bool is_bridge(sys::Kernel& kernel, const std::string& folder);

// Whom the symbolic link `folder`/`name` names; empty where there is none.
std::string link_target_name(sys::Kernel& kernel, const std::string& folder, std::string_view name);

// The device's character device: where it should be, and its number, which tells whether it is the one.
struct DeviceFile {
    std::string path;  // "/dev/vfio/devices/vfio0"
    dev_t number;
};

// ENODEV, saying why and what to do: no VFIO driver, no IOMMU group, a kernel without character devices.
Result<DeviceFile> device_file(sys::Kernel& kernel, const std::string& folder);

// Whether VFIO gives the device without an IOMMU, by its file noiommu-vfioN.
bool is_noiommu(sys::Kernel& kernel, const std::string& folder);

// Whether VFIO takes devices that are in no IOMMU group, which the machine's owner must have asked for.
bool noiommu_allowed(sys::Kernel& kernel);

// The next step of who has a device in no group.
inline constexpr std::string_view kHowToGetAGroup =
    "turn the IOMMU on in the firmware and on the kernel's command line (intel_iommu=on), or load vfio with "
    "enable_unsafe_noiommu_mode=1";

}  // namespace iommufd::inline v0_1::vfio
