// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel under test, with every ioctl that succeeded on it written down under the test that made it: what
// docs/ioctl-coverage.md is made from.
#pragma once

#include "sys/faulty_kernel.hpp"

namespace iommufd::inline v0_1::kernel_tests {

// Prints "COVERS IOCTL TEST" once for each ioctl of each test, when the test ends.
class Recorder final : public sys::FaultyKernel {
public:
    static Recorder& instance();
    int ioctl(int fd, unsigned long request, void* argument) override;

private:
    Recorder();
};

}  // namespace iommufd::inline v0_1::kernel_tests
