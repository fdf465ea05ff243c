// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine with the mock; a test that leaves anything in it fails.
#include <gtest/gtest.h>

#include "iommufd/model/machine.hpp"
#include "kernel/kernel_under_test.hpp"

namespace iommufd::inline v0_1::kernel_tests {
namespace {

model::Machine& machine() {
    static model::Machine machine({.devices = {}, .mock = true});
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

}  // namespace iommufd::inline v0_1::kernel_tests
