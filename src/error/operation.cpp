// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "error/operations.hpp"

namespace iommufd::inline v0_1 {

std::string_view name(Operation operation) noexcept { return facts(operation).name; }

std::string_view since(Operation operation) noexcept { return facts(operation).since; }

}  // namespace iommufd::inline v0_1
