// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstddef>

#include "iommufd/core/context.hpp"

namespace iommufd::inline v0_1::core {

// Destroys every object of the context that can be, whoever made it: for a context that went to another process, which may still have
// it. What devices are attached to stays, and so do the devices. Ids are small: one that lies beyond 4096 unused ones is not found.
// Returns how many there were.
std::size_t sweep(const Context& context) noexcept;

}  // namespace iommufd::inline v0_1::core
