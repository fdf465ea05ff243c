// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How a command is started that is given descriptors, which its words and its environment name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/account.hpp"
#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

struct PassedDevice {
    std::string name;  // "0000:02:00.0", "/dev/vhost-vdpa-0"
    int fd;
    bool is_vdpa = false;
};

// Of a device: "02:00.0", "0000:02:00.0" and its folder in /sys are one.
std::string full_name(std::string_view where);

// The words with numbers in place of {iommufd}, {vfio:BDF}, {vdpa:PATH} and {memory}. EINVAL: one that isn't passed; -1 stands for none.
Result<std::vector<std::string>> name_descriptors(const std::vector<std::string>& words, int iommufd,
                                                  const std::vector<PassedDevice>& devices, int memory = -1);

// What the command finds in its environment: the caller's, with the descriptors named in it, and the user's own.
std::vector<std::string> environment(int iommufd, const std::vector<PassedDevice>& devices,
                                     const Account* account);

// Becomes the command; returns, with a status, only where it can't.
int start(std::vector<std::string> words, std::vector<std::string> environment);

}  // namespace iommufd::inline v0_1::cli
