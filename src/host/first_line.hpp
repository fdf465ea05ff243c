// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::host {

// Of a small file, as those of sysfs are; empty where it can't be read.
std::string first_line(sys::Kernel& kernel, const std::string& path);

}  // namespace iommufd::inline v0_1::host
