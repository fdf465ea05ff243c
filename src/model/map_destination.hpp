// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Where something is to be mapped.
#pragma once

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {

struct Context::Destination {
    std::uint32_t ioas_id;
    std::uint32_t flags;  // uapi::kMap...
    std::uint64_t iova;   // where the flags say so
};

}  // namespace iommufd::inline v0_1::model
