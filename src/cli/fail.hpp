// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "iommufd/error/error.hpp"

namespace iommufd::inline v0_1::cli {

// Says on standard error why the command ends, and returns the exit status that it was given.
int fail(int status, const Error& error);

}  // namespace iommufd::inline v0_1::cli
