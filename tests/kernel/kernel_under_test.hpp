// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The tests here run on a real kernel, in the VM, and on the model: which one, their program is linked for
// (on_the_host.cpp, on_the_model.cpp). What can't run on one of them is in tests/expected-skips.
#pragma once

#include <cstdint>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::kernel_tests {

sys::Kernel& kernel_under_test();

// How many bytes this process has pinned there.
std::uint64_t pinned();

}  // namespace iommufd::inline v0_1::kernel_tests
