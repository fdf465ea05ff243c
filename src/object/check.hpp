// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <optional>

#include "iommufd/object/definition.hpp"

namespace iommufd::inline v0_1::object {

// check(), and that the type belongs to the option where one is given.
Result<void> check_as(std::optional<Option> option, const Definition& definition);

}  // namespace iommufd::inline v0_1::object
