// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `iommufd explain`: what the error table says, for whoever has an errno of a program that isn't ours.
#pragma once

#include <string>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

// Of an operation, by its name with or without prefix, in any case ("IOMMU_IOAS_MAP", "ioas_map"), and an errno ("ENOMEM", "12"). Without
// an errno: all that the table has of the operation; without both: the names of the operations. ENOENT: no such operation; EINVAL: no
// such errno.
Result<std::string> explain_table(const std::string& operation, const std::string& code);

// Prints that.
int explain(const std::string& operation, const std::string& code);

}  // namespace iommufd::inline v0_1::cli
