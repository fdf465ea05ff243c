// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a hardware page table is made from.
#pragma once

#include <optional>

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {

struct Context::NewHwpt {
    BoundDevice& device;
    std::uint32_t pasid = kNoPasid;
    std::uint32_t flags = 0;
    std::optional<UserData> data = {};
    bool attach_at_once = false;  // before it is filled
};

}  // namespace iommufd::inline v0_1::model
