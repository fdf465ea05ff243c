// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How much this process may lock in memory, who said so, and how to get more.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli::doctor {

struct Memlock {
    std::optional<std::uint64_t> soft;  // RLIMIT_MEMLOCK, in bytes; nothing: unlimited
    std::optional<std::uint64_t> hard;  // up to which the process may raise it
    bool excused;                       // CAP_IPC_LOCK: iommufd asks for no limit, vDPA does all the same
    std::string set;   // the lines that PAM and systemd have for it, with their files; empty: none
    std::string unit;  // whose limit it is: "vm.service"; empty: of no service
    unsigned user;     // the effective one
};

// ENOENT: /proc is not mounted.
Result<Memlock> memlock(sys::Kernel& kernel);

// "RLIMIT_MEMLOCK is 8 MiB (hard 64 MiB); /etc/security/limits.conf: * - memlock 65536".
std::string text(const Memlock& memlock);

// What lets this process lock so many bytes.
std::string how_to_raise(const Memlock& memlock, std::uint64_t bytes);

}  // namespace iommufd::inline v0_1::cli::doctor
