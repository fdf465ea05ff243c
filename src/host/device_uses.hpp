// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What would be lost if a device were taken from its driver now.
#pragma once

#include <string>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::host {

// Of the device called `device` ("0000:02:00.0") and everything below it, a clause each: a disk that is mounted, swap or part of
// another ("nvme0n1p1 is mounted on /data"), a network interface that is up, a process that has a node open. Empty: nobody misses it, as
// far as this process may look.
Result<std::vector<std::string>> device_uses(sys::Kernel& kernel, const std::string& device);
// The same for each of several devices, in their order: the processes are gone through once.
Result<std::vector<std::vector<std::string>>> uses_of_each(sys::Kernel& kernel,
                                                           const std::vector<std::string>& devices);

// Its disks that the kernel gives to nobody else, whoever has them: also what is mounted where this process doesn't see it. It asks by
// opening them for itself alone for a moment.
std::vector<std::string> claimed_disks(sys::Kernel& kernel, const std::string& device);

// "nvme0n1p1 is mounted on /data; dd (process 12) has /dev/nvme0n1 open".
std::string list_uses(const std::vector<std::string>& uses);

}  // namespace iommufd::inline v0_1::host
