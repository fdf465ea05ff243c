// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The command's operator new, of which an allocation can be made to fail: for programs under the model that inject faults.
#pragma once

#include "intercept/fail_nth.hpp"

namespace iommufd::inline v0_1::cli {

// Of each thread apart.
intercept::AllocationFailures& allocation_failures() noexcept;

}  // namespace iommufd::inline v0_1::cli
