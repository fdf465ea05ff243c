// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The machine's PCI devices, by IOMMU group: who has each of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {

struct ListedDevice {
    std::string address;            // "0000:02:00.0"
    std::string id;                 // vendor and device: "8086:10c9"
    std::string kind;               // by its class: "storage", "network"; "other"
    std::string driver;             // empty: none
    std::string node;               // that VFIO gives for it: "/dev/vfio/devices/vfio0"; empty: none
    std::optional<int> numa_node;   // nothing: the machine has one only, or doesn't say
    bool spoils;                    // its group is the kernel's, because of this device
    std::vector<std::string> uses;  // a clause each: "qemu (process 12) has /dev/vfio/devices/vfio0 open"
};

struct ListedGroup {
    std::string number;  // empty: of the devices that are in none
    std::vector<ListedDevice> devices;

    // Whether a program can have its devices: no driver of the kernel's has one.
    bool viable() const;
};

// In the order of the groups' numbers, those in none last, and in each by address. ENOENT: there is no PCI.
Result<std::vector<ListedGroup>> list_devices(sys::Kernel& kernel);

}  // namespace iommufd::inline v0_1::cli
