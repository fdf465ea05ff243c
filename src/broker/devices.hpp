// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the broker does with the kernel for a client, apart from its books: it may take long.
//
// Threads: free functions, which may run at once for different devices.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "iommufd/core/context.hpp"
#include "iommufd/error/result.hpp"
#include "sys/fd.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::broker {

// "7": its IOMMU group. Empty: it has none, or isn't there.
std::string group_of(sys::Kernel& kernel, const std::string& device);

// Opens a node of vhost-vdpa, without an owner. ENOTTY: it is something else.
Result<sys::Fd> open_vdpa(sys::Kernel& kernel, const std::string& path);

// What a trial has shown of a VFIO device.
struct DeviceFacts {
    bool resets;
    // What sysfs has of its file, as long as VFIO gives it: "/sys/bus/pci/devices/.../vfio-dev/vfio0". Empty: not known.
    std::string folder = {};
    ino_t inode =
        0;  // of the folder; sysfs gives each of them another (kernfs_ino() of include/linux/kernfs.h)
    vfio::DeviceFile file = {};
};
// Whether a device is nobody's: it is opened, bound to an iommufd of this process, reset where it can be, and closed. EBUSY, naming who
// has it open; else what the bind says.
Result<DeviceFacts> try_device(sys::Kernel& kernel, const std::string& device);

// Opens the file of a device that was tried, if VFIO has given that one since: it is the same device, in the same group. Nothing: it must
// be looked up, and tried, anew.
std::optional<sys::Fd> open_tried(sys::Kernel& kernel, const DeviceFacts& facts);

// Opens a VFIO device for a client that will bind it, after a trial. EPERM: a member of its group is the kernel's, or there is no IOMMU
// before it; else what vfio::Cdev::open() says.
Result<sys::Fd> open_vfio(sys::Kernel& kernel, const std::string& device, const DeviceFacts& tried);

// Takes back what a client was given, of which it may have kept duplicates, and others may have got some: its devices are reset and detached,
// then the objects of its iommufd are destroyed (null: others use it as well), and all is closed.
void take_back(std::vector<sys::Fd> devices, const core::Context* context) noexcept;

}  // namespace iommufd::inline v0_1::broker
