// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What other processes have open of /dev.
#pragma once

#include <functional>
#include <string>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::host {

struct OpenFile {
    int process;
    int descriptor;
    std::string link;  // "/proc/12/fd/5"
    std::string path;  // "/dev/nvme0n1", as that process sees it
};

// Shows those of one process after the other, as far as this process may look into them. `see` returns whether it needs no more of
// that process. ENOENT: /proc is not mounted.
Result<void> each_open_file(sys::Kernel& kernel, const std::function<bool(const OpenFile&)>& see);

// Of a process, as /proc/PID/comm has it.
std::string program_of(sys::Kernel& kernel, int process);

}  // namespace iommufd::inline v0_1::host
