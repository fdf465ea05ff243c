// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "cli/arguments.hpp"

namespace iommufd::inline v0_1::cli {

// `iommufd run`: holds what the options create until SIGINT or SIGTERM, then takes it down. A device that the kernel
// asks back is detached and closed at once.
int run(const Arguments& arguments);

}  // namespace iommufd::inline v0_1::cli
