// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/host/process.hpp"
#include "kernel/kernel_under_test.hpp"

namespace iommufd::inline v0_1::kernel_tests {

sys::Kernel& kernel_under_test() { return sys::host_kernel(); }

std::uint64_t pinned() { return host::process(sys::host_kernel()).value().pinned; }

}  // namespace iommufd::inline v0_1::kernel_tests
