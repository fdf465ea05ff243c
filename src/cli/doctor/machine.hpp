// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The machine as the checks see it: files of /sys, /proc, /dev, /boot and /etc, and what their kernel answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli::doctor {

struct Device {
    std::string address;                    // "0000:02:00.0"
    std::string folder;                     // in /sys
    std::string driver;                     // empty: none
    std::string group;                      // "7"; empty: none
    bool has_vfio;                          // VFIO's driver has it
    Result<std::vector<std::string>> uses;  // as host::device_uses() has them
};

struct Machine {
    sys::Kernel& kernel;
    std::string release;                    // of the kernel: "6.12.0-1-amd64"
    std::vector<std::string> command_line;  // the kernel's
    unsigned user;                          // the caller's effective number
    std::vector<std::string> iommus;        // "dmar0", as /sys/class/iommu has them
    std::optional<Device> device;           // that is asked for
    std::uint64_t memory;                   // of the guest that it is for, in bytes
};

// `where` is a PCI address; empty: none. ENOENT: there is no such device; EINVAL: that is no PCI device.
Result<Machine> look_at(sys::Kernel& kernel, std::string_view where, std::uint64_t memory);

// Whether the kernel is at least that one.
bool is_since(const Machine& machine, unsigned major, unsigned minor);

// A word of the kernel's command line that starts so: "intel_iommu="; empty where there is none.
std::string argument(const Machine& machine, std::string_view start);

// This process's, by number.
unsigned effective_user(sys::Kernel& kernel);

// Everything, however long; nothing where it can't be read.
std::optional<std::string> content_of(sys::Kernel& kernel, const std::string& path);
bool exists(sys::Kernel& kernel, const std::string& path);
// Of a folder; none where it can't be read.
std::vector<std::string> names_in(sys::Kernel& kernel, const std::string& path);

}  // namespace iommufd::inline v0_1::cli::doctor
