// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

#include "iommufd/error/error.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::vfio {

// Why VFIO_DEVICE_BIND_IOMMUFD failed: the kernel has one errno for several reasons, and sysfs tells which it
// can be. `folder` in /sys is empty where it isn't known.
Error explain_bind(sys::Kernel& kernel, const std::string& name, const std::string& folder, bool with_token,
                   int code);

}  // namespace iommufd::inline v0_1::vfio
