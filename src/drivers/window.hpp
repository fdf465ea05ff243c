// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "iommufd/core/types.hpp"

namespace iommufd::inline v0_1::drivers {

// Memory of this process that the device reaches as well.
struct Window {
    std::byte* memory = nullptr;
    Iova iova;
    std::uint64_t size = 0;  // in bytes
};

}  // namespace iommufd::inline v0_1::drivers
