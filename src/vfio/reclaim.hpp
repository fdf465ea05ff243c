// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::vfio {

// Ends what another process does with a device through a descriptor whose open file this process has as well: resets the device, where
// that can be done, and detaches it, so that it reaches no memory. What is not bound, or not attached, is left as it is.
void reclaim(const sys::Fd& device) noexcept;

}  // namespace iommufd::inline v0_1::vfio
