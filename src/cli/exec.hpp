// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace iommufd::inline v0_1::cli {

// Exit statuses of `iommufd exec`, as env(1) has them; 64 (kUsage) for options that can't be read.
inline constexpr int kNotPrepared = 125;
inline constexpr int kNotStarted = 126;
inline constexpr int kNotFound = 127;

struct ExecArguments {
    std::string user;                      // "USER[:GROUP]"; empty: the one who asks
    std::vector<std::string> devices;      // as vfio::Cdev::open() takes them
    std::optional<std::uint64_t> memlock;  // RLIMIT_MEMLOCK in bytes; nothing: auto
    std::vector<std::string> command;
};

// `iommufd exec`: opens /dev/iommu and the devices, gives up all privileges, and becomes the command. Returns only where it can't.
int exec(const ExecArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
