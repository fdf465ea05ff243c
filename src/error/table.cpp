// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <cerrno>

#include "iommufd/error/error.hpp"

namespace iommufd::inline v0_1 {

Explanation explain(Operation, int) noexcept { return {}; }

} // namespace iommufd::inline v0_1
