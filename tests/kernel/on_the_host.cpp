// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "kernel/kernel_under_test.hpp"

namespace iommufd::inline v0_1::kernel_tests {

sys::Kernel& kernel_under_test() { return sys::host_kernel(); }

}  // namespace iommufd::inline v0_1::kernel_tests
