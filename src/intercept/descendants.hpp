// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The processes that descend from another, at one moment.
//
// Threads: any.
#pragma once

#include <sys/types.h>

#include <vector>

namespace iommufd::inline v0_1::intercept {

// Children before their own. One that is started or ends meanwhile may be missing or gone.
std::vector<pid_t> descendants_of(pid_t process);

}  // namespace iommufd::inline v0_1::intercept
