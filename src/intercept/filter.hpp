// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which system calls of a program stop for the supervisor (seccomp user notification). All others go on at full speed;
// those of another architecture than the supervisor's own (32-bit programs) are never stopped.
//
// Threads: a free function.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::intercept {

// Every region of a modelled device lies from here on in its file, so that a pread or pwrite is known by its offset.
inline constexpr std::uint64_t kRegions = std::uint64_t{1} << 40;

struct FilterOptions {
    bool vdpa = false;  // writes as long as an IOTLB message
    bool mock = false;  // short reads and writes: fault and event queues, fail-nth
};

// EINVAL, ENOMEM: what libseccomp says.
Result<std::vector<sock_filter>> make_filter(const FilterOptions& options);

}  // namespace iommufd::inline v0_1::intercept
