// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The tests here run on a real kernel, in the VM, and on the model: which one, their program is linked for
// (on_the_host.cpp, on_the_model.cpp). What can't run on one of them is in tests/expected-skips.
#pragma once

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::kernel_tests {

sys::Kernel& kernel_under_test();

}  // namespace iommufd::inline v0_1::kernel_tests
