// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Where a command's words name a descriptor that it will have: "{iommufd}", "{vfio:0000:02:00.0}".
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

// The number behind a placeholder's inside ("iommufd", "vfio:0000:02:00.0"); nothing: there is no such one.
using Resolve = std::function<std::optional<int>(std::string_view)>;

// The words with a number in place of each placeholder. What counts as one is "{NAME}" or "{NAME:ADDRESS}", the name of small letters and
// the address without blanks and quotes, so JSON, "{}" and most programs' own braces stay as they are; "{{NAME}" becomes "{NAME}". EINVAL: one
// that does not resolve.
Result<std::vector<std::string>> fill_in(const std::vector<std::string>& words, const Resolve& resolve);

}  // namespace iommufd::inline v0_1::cli
