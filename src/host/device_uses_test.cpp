// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/device_uses.hpp"

#include <gmock/gmock.h>

#include "support/fake_root.hpp"

namespace iommufd::host {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string kNvme = "0000:00:11.0";
const std::string kController = "pci0000:00/" + kNvme + "/nvme/nvme0/";
const std::string kCard = "0000:00:03.0";

class DeviceUsesTest : public ::testing::Test {
protected:
    DeviceUsesTest() {
        kernel_.folder("/sys/dev/char");
        kernel_.node("nvme0n1", S_IFBLK, 259, 0, kController + "nvme0n1");
        kernel_.node("nvme0n1p1", S_IFBLK, 259, 1, kController + "nvme0n1/nvme0n1p1");
        kernel_.node("sda1", S_IFBLK, 8, 1, "pci0000:00/0000:00:1f.2/ata1/sda/sda1");
        kernel_.link("/sys/class/net/eth0", "../../devices/pci0000:00/" + kCard + "/net/eth0");
        kernel_.file("/proc/self/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        kernel_.file("/proc/1/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
        kernel_.file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
        set_flags("0x1002\n");
    }

    // What the link of a class leads to, where the real kernel has the folder itself.
    void at(const std::string& name, const std::string& file, const std::string& content) {
        kernel_.file("/sys/devices/" + kController + name + "/" + file, content);
    }
    void set_flags(const std::string& flags) {
        kernel_.file("/sys/devices/pci0000:00/" + kCard + "/net/eth0/flags", flags);
    }
    std::vector<std::string> uses(const std::string& device = kNvme) {
        return device_uses(kernel_, device).value();
    }

    FakeRoot kernel_;
};

TEST_F(DeviceUsesTest, OfAnIdleDeviceAreNone) {
    EXPECT_THAT(uses(), IsEmpty());
    EXPECT_THAT(uses(kCard), IsEmpty());
    EXPECT_THAT(uses("0000:00:10.0"), IsEmpty());
}

TEST_F(DeviceUsesTest, AMountedPartitionIsNamedWithItsPlaceOnce) {
    kernel_.file("/proc/self/mountinfo",
                 "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
                 "30 21 259:1 / /data rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw\n");
    kernel_.file("/proc/1/mountinfo",
                 "30 21 259:1 / /data rw - ext4 /dev/nvme0n1p1 rw\n"
                 "31 21 259:1 /sub /other rw - ext4 /dev/nvme0n1p1 rw\n");
    EXPECT_THAT(uses(), ElementsAre("nvme0n1p1 is mounted on /data", "nvme0n1p1 is mounted on /other"));
}

TEST_F(DeviceUsesTest, AFileSystemOnSeveralDisksIsKnownByItsSource) {
    kernel_.file("/proc/self/mountinfo", "30 21 0:44 / /data rw - btrfs /dev/nvme0n1p1 rw\n");
    EXPECT_THAT(uses(), ElementsAre("nvme0n1p1 is mounted on /data"));
}

TEST_F(DeviceUsesTest, SwapAndPartsOfOtherDisksAreNamed) {
    kernel_.file("/proc/swaps", "Filename\tType\n/dev/nvme0n1p1\tpartition\t1\t0\t-2\n");
    at("nvme0n1", "holders/dm-3", "");
    EXPECT_THAT(uses(), ElementsAre("nvme0n1 is part of dm-3", "nvme0n1p1 is swap"));
}

TEST_F(DeviceUsesTest, WhatTheKernelHoldsForSomebodyUnseenIsToldToo) {
    kernel_.claimed.insert("/dev/nvme0n1");
    EXPECT_THAT(claimed_disks(kernel_, kNvme), ElementsAre("nvme0n1"));
    kernel_.claimed.clear();
    EXPECT_THAT(claimed_disks(kernel_, kNvme), IsEmpty());
}

// With several paths to one disk it isn't below the controller.
TEST_F(DeviceUsesTest, ADiskThatControllersShareIsFound) {
    kernel_.node("nvme3n2", S_IFBLK, 259, 7, "virtual/nvme-subsystem/nvme-subsys3/nvme3n2");
    kernel_.link("/sys/class/block/nvme3c1n2", "../../devices/" + kController + "nvme3c1n2");
    kernel_.file("/proc/self/mountinfo", "30 21 259:7 / /data rw - ext4 /dev/nvme3n2 rw\n");
    EXPECT_THAT(uses(), ElementsAre("nvme3n2 is mounted on /data"));
}

TEST_F(DeviceUsesTest, ANetworkInterfaceThatIsUpIsNamed) {
    set_flags("0x1003\n");
    EXPECT_THAT(uses(kCard), ElementsAre("network interface eth0 is up"));
    EXPECT_THAT(uses(), IsEmpty());
}

TEST_F(DeviceUsesTest, ProcessesAreNamedBesideTheRest) {
    kernel_.file("/proc/self/mountinfo", "30 21 259:1 / /data rw - ext4 /dev/nvme0n1p1 rw\n");
    kernel_.process(12, "dd", "/dev/nvme0n1");
    EXPECT_THAT(uses(),
                ElementsAre("nvme0n1p1 is mounted on /data", "dd (process 12) has /dev/nvme0n1 open"));
    EXPECT_EQ(list_uses(uses()), "nvme0n1p1 is mounted on /data; dd (process 12) has /dev/nvme0n1 open");
}

TEST_F(DeviceUsesTest, ListsLongerThanAPageAreReadToTheirEnd) {
    std::string list;
    for (int i = 0; i < 4000; ++i)
        list += "21 1 0:" + std::to_string(i + 100) + " / /m" + std::to_string(i) + " rw - tmpfs none rw\n";
    kernel_.file("/proc/self/mountinfo", list + "30 21 259:0 / /last rw - ext4 /dev/nvme0n1 rw\n");
    ASSERT_GT(list.size(), 65536U);
    EXPECT_THAT(uses(), ElementsAre("nvme0n1 is mounted on /last"));
}

}  // namespace
}  // namespace iommufd::host
