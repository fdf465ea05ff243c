// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/device_list.hpp"

#include <gmock/gmock.h>

#include "support/fake_root.hpp"

namespace iommufd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeviceListTest : public ::testing::Test {
protected:
    DeviceListTest() {
        kernel_.folder("/sys/dev/char");
        kernel_.folder("/sys/bus/pci/devices");
    }

    void add(const std::string& address, const std::string& group, const std::string& driver,
             const std::string& code = "0x010802") {
        const std::string folder = "/sys/bus/pci/devices/" + address;
        kernel_.file(folder + "/vendor", "0x8086\n");
        kernel_.file(folder + "/device", "0x10c9\n");
        kernel_.file(folder + "/class", code + "\n");
        kernel_.file(folder + "/numa_node", "-1\n");
        if (!driver.empty()) kernel_.link(folder + "/driver", "../../../bus/pci/drivers/" + driver);
        if (driver == "vfio-pci") kernel_.file(folder + "/vfio-dev/vfio4/dev", "234:4\n");
        if (group.empty()) return;
        kernel_.link(folder + "/iommu_group", "../../../../kernel/iommu_groups/" + group);
        kernel_.link("/sys/kernel/iommu_groups/" + group + "/devices/" + address,
                     "../../../../bus/pci/devices/" + address);
    }
    std::vector<ListedGroup> listed() { return list_devices(kernel_).value(); }

    FakeRoot kernel_;
};

TEST_F(DeviceListTest, GroupsAreInTheOrderOfTheirNumbersAndThoseWithoutOneLast) {
    add("0000:00:01.0", "", "");
    add("0000:00:02.0", "10", "nvme");
    add("0000:00:03.0", "9", "");
    add("0000:00:04.0", "9", "");
    const auto groups = listed();
    ASSERT_EQ(groups.size(), 3U);
    EXPECT_EQ(groups[0].number, "9");
    EXPECT_EQ(groups[0].devices.size(), 2U);
    EXPECT_EQ(groups[1].number, "10");
    EXPECT_EQ(groups[2].number, "");
    EXPECT_EQ(groups[2].devices[0].address, "0000:00:01.0");
}

TEST_F(DeviceListTest, ADeviceHasItsIdsDriverNodeAndNumaNode) {
    add("0000:00:02.0", "3", "vfio-pci", "0x020000");
    kernel_.file("/sys/bus/pci/devices/0000:00:02.0/numa_node", "1\n");
    const auto groups = listed();
    const ListedDevice& device = groups.at(0).devices.at(0);
    EXPECT_EQ(device.id, "8086:10c9");
    EXPECT_EQ(device.kind, "network");
    EXPECT_EQ(device.driver, "vfio-pci");
    EXPECT_EQ(device.node, "/dev/vfio/devices/vfio4");
    EXPECT_EQ(device.numa_node, 1);
    EXPECT_THAT(device.uses, IsEmpty());
}

TEST_F(DeviceListTest, WhatIsNotKnownIsEmpty) {
    add("0000:00:02.0", "3", "", "0xff0000");
    const auto groups = listed();
    const ListedDevice& device = groups.at(0).devices.at(0);
    EXPECT_EQ(device.kind, "other");
    EXPECT_EQ(device.driver, "");
    EXPECT_EQ(device.node, "");
    EXPECT_EQ(device.numa_node, std::nullopt);
}

TEST_F(DeviceListTest, AGroupIsTheKernelsWhereOneOfItsDriversIs) {
    add("0000:00:02.0", "3", "vfio-pci");
    add("0000:00:03.0", "3", "pcieport");
    EXPECT_TRUE(listed().at(0).viable());
    add("0000:00:04.0", "3", "nvme");
    EXPECT_FALSE(listed().at(0).viable());
}

TEST_F(DeviceListTest, WhoHasItIsNamed) {
    add("0000:00:02.0", "3", "vfio-pci");
    kernel_.node("vfio/devices/vfio4", S_IFCHR, 234, 4, "pci0000:00/0000:00:02.0/vfio-dev/vfio4");
    kernel_.process(12, "qemu", "/dev/vfio/devices/vfio4");
    EXPECT_THAT(listed().at(0).devices.at(0).uses,
                ElementsAre("qemu (process 12) has /dev/vfio/devices/vfio4 open"));
}

TEST_F(DeviceListTest, AMachineWithoutPciIsToldSo) {
    kernel_.remove("/sys/bus/pci");
    EXPECT_EQ(list_devices(kernel_).error().code(), ENOENT);
}

}  // namespace
}  // namespace iommufd::cli
