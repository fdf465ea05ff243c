// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What limits this process in pinning memory, read from /proc/self.
//
// Threads: free functions; the answer is a value of that moment.
#pragma once

#include <cstdint>
#include <optional>

#include "iommufd/error/result.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

namespace sys {
class Kernel;
}

namespace host {

struct Process {
    std::uint64_t pinned;                        // VmPin, in bytes
    std::uint64_t locked;                        // VmLck, in bytes: what counts per process
    std::optional<std::uint64_t> memlock_limit;  // RLIMIT_MEMLOCK (soft), in bytes; nothing: unlimited
    bool cap_ipc_lock;      // no limit on locked memory applies; both of the first user namespace
    bool cap_sys_resource;  // may change how locked memory is accounted
};

// ENOENT: /proc is not mounted.
IOMMUFD_EXPORT Result<Process> process(sys::Kernel& kernel);

// The memory of the machine (MemTotal), in bytes: nobody can pin more. ENOENT: /proc is not mounted.
IOMMUFD_EXPORT Result<std::uint64_t> total_memory(sys::Kernel& kernel);
// And how much of it can be had without swapping (MemAvailable).
IOMMUFD_EXPORT Result<std::uint64_t> available_memory(sys::Kernel& kernel);

}  // namespace host
}  // namespace iommufd::inline v0_1
