// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::host {

struct Holder {
    int process;
    std::string name;  // of its program, as /proc/PID/comm has it
};

// The other processes that have the open file of our descriptor `fd`, a device's, as far as this process may look into them.
// ENOENT: /proc is not mounted.
Result<std::vector<Holder>> other_holders(sys::Kernel& kernel, int fd);

}  // namespace iommufd::inline v0_1::host
