// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/device_nodes.hpp"

#include <gmock/gmock.h>

#include "support/fake_root.hpp"

namespace iommufd::host {
namespace {

using ::testing::UnorderedElementsAre;

const std::string kNvme = "0000:00:11.0";
const std::string kFolder = "pci0000:00/" + kNvme;

class DeviceNodesTest : public ::testing::Test {
protected:
    DeviceNodesTest() {
        kernel_.node("nvme0", S_IFCHR, 240, 0, kFolder + "/nvme/nvme0");
        kernel_.node("nvme0n1", S_IFBLK, 259, 0, kFolder + "/nvme/nvme0/nvme0n1");
        kernel_.node("vfio/7", S_IFCHR, 234, 7, "virtual/vfio/7");
        kernel_.node("sda", S_IFBLK, 8, 0, "pci0000:00/0000:00:1f.2/ata1/sda");
        kernel_.node("other", S_IFCHR, 259, 0, "pci0000:00/0000:00:12.0/other/other");
        kernel_.link("/sys/bus/pci/devices/" + kNvme + "/iommu_group", "../../../../kernel/iommu_groups/7");
        kernel_.file("/sys/class/vfio/7/dev", "234:7\n");
    }

    std::vector<std::string> names() {
        std::vector<std::string> names;
        const auto nodes = device_nodes(kernel_, kNvme);
        for (const DeviceNode& node : nodes.value()) names.push_back(node.name);
        return names;
    }
    std::vector<std::string> texts() {
        std::vector<std::string> texts;
        const auto found = openers(kernel_, device_nodes(kernel_, kNvme).value());
        for (const Opener& opener : found.value()) texts.push_back(text(opener));
        return texts;
    }

    FakeRoot kernel_;
};

TEST_F(DeviceNodesTest, AreThoseOfTheDeviceAndWhatIsBelowItAndOfItsGroup) {
    EXPECT_THAT(names(), UnorderedElementsAre("nvme0", "nvme0n1", "7"));
    kernel_.remove("/sys/class/vfio/7");
    EXPECT_THAT(names(), UnorderedElementsAre("nvme0", "nvme0n1"));
}

TEST_F(DeviceNodesTest, AKernelWithoutDisksHasNone) {
    kernel_.remove("/sys/dev/block");
    EXPECT_THAT(names(), UnorderedElementsAre("nvme0", "7"));
    kernel_.remove("/sys/dev/char");
    EXPECT_EQ(device_nodes(kernel_, kNvme).error().line().substr(0, 26), "cannot read /sys/dev/char:");
}

TEST_F(DeviceNodesTest, WhoHasOneOpenIsNamedOnce) {
    kernel_.process(12, "dd", "/dev/nvme0n1");
    kernel_.link("/proc/12/fd/6", "/dev/nvme0");
    kernel_.process(13, "qemu-system-x86", "/dev/vfio/7");
    EXPECT_THAT(texts(), UnorderedElementsAre("dd (process 12) has /dev/nvme0n1 open",
                                              "qemu-system-x86 (process 13) has /dev/vfio/7 open"));
}

// A disk and a character device may have the same number, and a name may be anything.
TEST_F(DeviceNodesTest, OtherFilesAreNotTakenForThem) {
    kernel_.process(12, "cat", "/dev/other");
    kernel_.process(13, "cat", "/dev/sda");
    kernel_.process(14, "cat", "socket:[259]");
    kernel_.process(15, "cat", "/dev/gone");
    kernel_.file("/proc/16/comm", "without descriptors\n");
    EXPECT_THAT(texts(), UnorderedElementsAre());
}

}  // namespace
}  // namespace iommufd::host
