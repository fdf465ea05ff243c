// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <optional>
#include <string>

#include "iommufd/error/error.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::vfio {

// Why VFIO_DEVICE_BIND_IOMMUFD failed: the kernel has one errno for several reasons, and sysfs tells which it
// can be. `folder` in /sys is empty where it isn't known.
Error explain_bind(sys::Kernel& kernel, const std::string& name, const std::string& folder, bool with_token,
                   int code);

// Why no program can have the device in `folder` now: the kernel uses another member of its group. EPERM, as the bind would say; nothing
// where the group is viable.
std::optional<Error> group_refuses(sys::Kernel& kernel, const std::string& what, const std::string& folder);

}  // namespace iommufd::inline v0_1::vfio
