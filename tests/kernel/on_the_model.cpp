// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine with the mock and with devices that the VM has as well; a test that leaves anything in it fails.
#include <gtest/gtest.h>

#include "iommufd/model/machine.hpp"
#include "kernel/kernel_under_test.hpp"

namespace iommufd::inline v0_1::kernel_tests {
namespace {

model::Machine& machine() {
    static model::Machine machine({.devices = {{.kind = model::DeviceKind::edu, .name = "0000:00:10.0"},
                                               {.kind = model::DeviceKind::nvme, .name = "0000:00:11.0"},
                                               {.kind = model::DeviceKind::ivshmem, .name = "0000:03:00.0"}},
                                   .mock = true});
    return machine;
}

class NothingIsLeft final : public ::testing::EmptyTestEventListener {
    void OnTestEnd(const ::testing::TestInfo&) override {
        EXPECT_FALSE(machine().leaks().any()) << machine().leaks().text();
    }
};

}  // namespace

sys::Kernel& kernel_under_test() {
    static const bool listening = [] {
        ::testing::UnitTest::GetInstance()->listeners().Append(new NothingIsLeft);
        return true;
    }();
    (void)listening;
    return machine().kernel();
}

std::uint64_t pinned() { return machine().leaks().pinned; }

}  // namespace iommufd::inline v0_1::kernel_tests
