// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::vfio {

struct Area {
    std::uint64_t offset;
    std::uint64_t size;
};

// Which parts of a region may be mapped, from the answer of VFIO_DEVICE_GET_REGION_INFO with its chain of
// capabilities. Whatever the chain says, nothing outside the answer is read and nothing outside the region
// returned; of a chain that is cut or runs in circles nothing is.
std::vector<Area> mappable_areas(std::span<const std::byte> answer);

}  // namespace iommufd::inline v0_1::vfio
