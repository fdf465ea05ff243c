// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "core/node.hpp"
#include "iommufd/core/hwpt.hpp"

namespace iommufd::inline v0_1::core {

// HWPT_INVALIDATE of a nested hwpt or a viommu.
Result<void> invalidate(const ObjectNode& target, const Invalidation& invalidation, std::uint32_t& done);

}  // namespace iommufd::inline v0_1::core
