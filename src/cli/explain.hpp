// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// `iommufd explain`: what the error table says, for whoever has an errno of a program that isn't ours.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

// A row of the table, or what holds of the errno with any operation; errno, cause and next step are empty where only the operation
// was asked for.
struct ExplainedError {
    std::string_view operation;  // "IOMMU_IOAS_MAP"
    std::string_view since;      // the first Linux that has it: "6.2"; empty: any
    std::string errno_name;      // "ENOMEM"
    bool of_any_operation = false;
    std::string_view cause;
    std::string_view next_step;
};

// Of an operation, by its name with or without prefix, in any case ("IOMMU_IOAS_MAP", "ioas_map"), and an errno ("ENOMEM", "12"). Without
// an errno: all that the table has of the operation; without both: the names of the operations. ENOENT: no such operation; EINVAL: no
// such errno.
Result<std::vector<ExplainedError>> explained(const std::string& operation, const std::string& code);

// As it is printed for people.
std::string text_of(const std::vector<ExplainedError>& errors);

std::string json_of(const std::vector<ExplainedError>& errors);

// Prints that.
int explain(const std::string& operation, const std::string& code, bool json);

}  // namespace iommufd::inline v0_1::cli
