// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "cli/arguments.hpp"

namespace iommufd::inline v0_1::cli {

// `iommufd dmatest`: for each device of the options, in their order: who is it, does it move bytes both ways through the
// mapped memory, and is it kept from memory that isn't mapped.
int dmatest(Arguments arguments);

}  // namespace iommufd::inline v0_1::cli
