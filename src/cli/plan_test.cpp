// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/plan.hpp"

#include <gtest/gtest.h>

#include "cli/map_time.hpp"
#include "iommufd/core/types.hpp"
#include "iommufd/model/machine.hpp"

namespace iommufd::cli {
namespace {

PinnedMemory pinned(std::uint64_t memory, unsigned devices, unsigned vdpa = 0, bool viommu = false) {
    return pinned_memory({.memory = memory, .devices = devices, .pinning_vdpa = vdpa, .viommu = viommu},
                         4096);
}

TEST(PlanTest, DevicesThatShareASpaceNeedTheMemoryOnce) {
    EXPECT_EQ(pinned(64_GiB, 1).limit(), 64_GiB);
    EXPECT_EQ(pinned(64_GiB, 4).limit(), 64_GiB);
}

TEST(PlanTest, WithAViommuEachDeviceNeedsItOnce) { EXPECT_EQ(pinned(64_GiB, 3, 0, true).limit(), 192_GiB); }

TEST(PlanTest, EachVdpaDeviceThatPinsNeedsItOnceMore) {
    EXPECT_EQ(pinned(1_GiB, 2, 2).limit(), 3_GiB);
    EXPECT_EQ(pinned(1_GiB, 0, 1).limit(), 1_GiB);
}

TEST(PlanTest, WhereVdpaComesFirstTheLargerOfTheTwoIsEnough) {
    EXPECT_EQ(pinned(1_GiB, 1, 1).limit_vdpa_first(), 1_GiB);
    EXPECT_EQ(pinned(1_GiB, 1, 3).limit_vdpa_first(), 3_GiB);
    EXPECT_EQ(pinned(1_GiB, 4, 1, true).limit_vdpa_first(), 4_GiB);
}

TEST(PlanTest, PrivilegeExcusesFromIommufdsLimitAndNotFromThatOfVdpa) {
    EXPECT_EQ(pinned(1_GiB, 1).limit_excused(), std::nullopt);
    EXPECT_EQ(pinned(1_GiB, 1, 1).limit_excused(), 2_GiB);
}

TEST(PlanTest, PagesAreWhole) { EXPECT_EQ(pinned(4097, 1).limit(), 8192U); }

TEST(MapTimeTest, IsMeasuredThroughADeviceThatNobodyUsesAndLeavesNothing) {
    model::Machine machine(model::parse("devices=edu").value());
    const MapTime time = map_time(machine.kernel(), 1_MiB).value();
    EXPECT_EQ(time.device, "0000:00:10.0");
    EXPECT_EQ(time.sample, 1_MiB);
    EXPECT_GT(time.fresh, 0);
    EXPECT_GT(time.again, 0);
    EXPECT_FALSE(machine.leaks().any()) << machine.leaks().text();
}

TEST(MapTimeTest, WithoutADeviceThatIsSaid) {
    model::Machine machine(model::parse("devices=vdpa-blk").value());
    EXPECT_EQ(map_time(machine.kernel(), 1_MiB).error().code(), ENODEV);
}

}  // namespace
}  // namespace iommufd::cli
