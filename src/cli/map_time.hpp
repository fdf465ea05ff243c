// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How long this machine takes to map memory, found by mapping some of it through a device that nobody uses.
#pragma once

#include <cstdint>
#include <string>

#include "iommufd/error/result.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {

struct MapTime {
    std::string device;    // through which it was measured
    std::uint64_t sample;  // bytes
    double fresh;  // nanoseconds for each byte of memory that nobody has touched: the kernel clears it first
    double again;  // the same of memory that is there already
};

// `most`: so many bytes are mapped at most, and no more than a quarter of what is available. ENODEV: no device is free for it.
Result<MapTime> map_time(sys::Kernel& kernel, std::uint64_t most);

}  // namespace iommufd::inline v0_1::cli
