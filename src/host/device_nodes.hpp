// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// By which files in /dev a device is reached, and who has one of them open.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::host {

// "247:3", with or without the end of a line.
std::optional<dev_t> parse_device_number(std::string_view text);

struct DeviceNode {
    std::string name;  // "vfio0", "nvme0n1": as sysfs has it
    dev_t number;
    bool is_block;
};

// Those of the device called `device` ("0000:02:00.0") and of everything below it, and of its IOMMU group, by which VFIO gave devices
// the old way.
Result<std::vector<DeviceNode>> device_nodes(sys::Kernel& kernel, const std::string& device);

struct Opener {
    int process;
    std::string program;  // as /proc/PID/comm has it
    std::string path;     // "/dev/nvme0n1", as that process sees it
};

// "qemu-system-x86 (process 4711) has /dev/vfio/devices/vfio0 open".
std::string text(const Opener& opener);

// The other processes that have one of these nodes open, each once, as far as this process may look into them. A mapping of a file
// that was closed isn't seen.
Result<std::vector<Opener>> openers(sys::Kernel& kernel, const std::vector<DeviceNode>& nodes);
// The same for the nodes of each of several devices: the processes are gone through once.
Result<std::vector<std::vector<Opener>>> openers_of_each(sys::Kernel& kernel,
                                                         const std::vector<std::vector<DeviceNode>>& devices);

}  // namespace iommufd::inline v0_1::host
