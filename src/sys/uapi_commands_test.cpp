// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The table of commands against itself and against the names that errors use.
#include <gtest/gtest.h>

#include <cstddef>

#include "iommufd/error/operation.hpp"
#include "uapi/commands.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd {
namespace {

using uapi::Command;
using uapi::kCommands;

TEST(UapiCommands, AscendWithoutAGap) {
    for (std::size_t i = 0; i < std::size(kCommands); ++i)
        EXPECT_EQ(kCommands[i].request, uapi::iommufd_request(static_cast<unsigned>(0x80 + i)));
    EXPECT_EQ(std::size(kCommands), 22U);
}

TEST(UapiCommands, TakeAStructNoLongerThanTheirs) {
    for (const Command& command : kCommands) {
        EXPECT_LE(command.minimum_size, command.size) << command.name;
        EXPECT_EQ(command.minimum_size % 4, 0U) << command.name;
    }
}

TEST(UapiCommands, TakeAShorterStructOnlyWhereOneHasGrown) {
    for (const Command& command : kCommands) {
        const bool grew = command.request == uapi::kHwptAlloc || command.request == uapi::kGetHwInfo ||
                          command.request == uapi::kViommuAlloc || command.request == uapi::kVeventqAlloc;
        EXPECT_EQ(command.minimum_size < command.size, grew) << command.name;
    }
    EXPECT_EQ(offsetof(uapi::HwptAlloc, data_type), uapi::find_command(uapi::kHwptAlloc)->minimum_size);
    EXPECT_EQ(offsetof(uapi::HwInfo, out_capabilities), uapi::find_command(uapi::kGetHwInfo)->minimum_size);
    EXPECT_EQ(offsetof(uapi::ViommuAlloc, data_len), uapi::find_command(uapi::kViommuAlloc)->minimum_size);
    EXPECT_EQ(offsetof(uapi::VeventqAlloc, reserved), uapi::find_command(uapi::kVeventqAlloc)->minimum_size);
}

TEST(UapiCommands, AreFoundByRequest) {
    ASSERT_NE(uapi::find_command(uapi::kIoasMap), nullptr);
    EXPECT_EQ(uapi::find_command(uapi::kIoasMap)->name, "IOMMU_IOAS_MAP");
    EXPECT_EQ(uapi::find_command(uapi::iommufd_request(0x96)), nullptr);
}

// Errors know operations, the model and documents know commands; both say since when, and must agree.
TEST(UapiCommands, HaveTheNameAndFirstKernelThatErrorsGiveThem) {
    for (const Command& command : kCommands) {
        bool found = false;
        for (unsigned i = 0; i <= static_cast<unsigned>(Operation::iotlb_batch); ++i) {
            const auto operation = static_cast<Operation>(i);
            if (name(operation) != command.name) continue;
            found = true;
            EXPECT_EQ(since(operation), command.since) << command.name;
        }
        EXPECT_TRUE(found) << command.name;
    }
}

TEST(UapiCommands, OfTheMockTakeTheStructWithoutItsPadding) {
    EXPECT_EQ(uapi::mock::kTestCommand.size, 72U);
    EXPECT_EQ(uapi::mock::kTestCommand.minimum_size, offsetof(uapi::mock::TestCmd, last) + 4);
}

}  // namespace
}  // namespace iommufd
