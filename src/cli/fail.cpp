// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/fail.hpp"

#include <fmt/core.h>

namespace iommufd::inline v0_1::cli {

int fail(int status, const Error& error) {
    fmt::print(stderr, "iommufd: {}\n", error.line());
    return status;
}

}  // namespace iommufd::inline v0_1::cli
