// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the broker does with the kernel for a client, apart from its books: it may take long.
//
// Threads: free functions, which may run at once for different devices.
#pragma once

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
    std::string folder =
        {};  // what sysfs has of its file, as long as VFIO gives it: "/sys/bus/pci/devices/.../vfio-dev/vfio0"
    vfio::DeviceFile file = {};
};
// Whether a device is nobody's: it is opened, bound to an iommufd of this process, reset where it can be, and closed. EBUSY, naming who
// has it open; else what the bind says.
Result<DeviceFacts> try_device(sys::Kernel& kernel, const std::string& device);

// Opens a VFIO device for a client that will bind it; one that was tried takes no more than to look whether it is still there. EPERM: a
// member of its group is the kernel's, or there is no IOMMU before it; else what vfio::Cdev::open() says.
Result<sys::Fd> open_vfio(sys::Kernel& kernel, const std::string& device,
                          const std::optional<DeviceFacts>& tried);

// Takes back what a client was given, of which it may have kept duplicates, and others may have got some: its devices are reset and detached,
// then the objects of its iommufd are destroyed (null: others use it as well), and all is closed.
void take_back(std::vector<sys::Fd> devices, const core::Context* context) noexcept;

}  // namespace iommufd::inline v0_1::broker
