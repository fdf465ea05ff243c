// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/machine_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

namespace iommufd::cli {
namespace {

using model::DeviceKind;
using model::IommuKind;

TEST(MachineFile, DescribesAllOfAMachine) {
    const auto machine = read_machine(R"({
        "kernel": "6.12",
        "iommu": {"kind": "virtio", "page-sizes": ["4K", 2097152], "dirty-tracking": true, "unsafe-interrupts": true,
                  "iova-ranges": [["0x0", "0x7fffffffff"]], "reserved": [["0xfee00000", 4277141503]]},
        "limits": {"memlock": "64M", "sys-resource": false, "sys-rawio": false},
        "devices": [{"kind": "edu", "name": "0000:00:13.0", "dma-bits": 32,
                     "group": [{"address": "0000:00:1f.3", "driver": "snd_hda_intel"}, {"address": "0000:00:1f.4"}]},
                    {"kind": "vdpa-blk", "name": "disk", "size": "128M", "persist": false}]})");
    ASSERT_TRUE(machine) << machine.error().line();
    EXPECT_EQ(machine->kernel, (model::KernelVersion{6, 12}));
    EXPECT_EQ(machine->iommu, IommuKind::virtio);
    EXPECT_EQ(machine->page_sizes, 0x201000U);
    EXPECT_TRUE(machine->dirty_tracking);
    EXPECT_TRUE(machine->unsafe_interrupts);
    ASSERT_EQ(machine->iova_ranges.size(), 2U);
    EXPECT_EQ(machine->iova_ranges[0].last, 0xfedfffffU);
    EXPECT_EQ(machine->iova_ranges[1].first, 0xfef00000U);
    EXPECT_EQ(machine->iova_ranges[1].last, 0x7fffffffffU);
    EXPECT_EQ(machine->memlock, 64U << 20);
    EXPECT_FALSE(machine->sys_resource);
    EXPECT_FALSE(machine->sys_rawio);
    ASSERT_EQ(machine->devices.size(), 2U);
    EXPECT_EQ(machine->devices[0].name, "0000:00:13.0");
    EXPECT_EQ(machine->devices[0].dma_bits, 32U);
    ASSERT_EQ(machine->devices[0].siblings.size(), 2U);
    EXPECT_EQ(machine->devices[0].siblings[0].driver, "snd_hda_intel");
    EXPECT_EQ(machine->devices[1].kind, DeviceKind::vdpa_blk);
    EXPECT_EQ(machine->devices[1].disk_size, 128U << 20);
    EXPECT_FALSE(machine->devices[1].iotlb_persist);
}

TEST(MachineFile, SaysOfACardItsMemoryAndOfDoorbellsThatTheyArePolled) {
    const auto machine = read_machine(
        R"({"devices": [{"kind": "ivshmem", "size": "64K"}, {"kind": "nvme", "size": "1M", "doorbells": "poll"}]})");
    ASSERT_TRUE(machine) << machine.error().line();
    EXPECT_EQ(machine->devices[0].memory_size, 64U << 10);
    EXPECT_EQ(machine->devices[1].disk_size, 1U << 20);
    EXPECT_TRUE(machine->devices[1].polls_doorbells);
}

TEST(MachineFile, MayLeaveOutEverything) {
    const auto machine = read_machine("{}");
    ASSERT_TRUE(machine) << machine.error().line();
    EXPECT_TRUE(machine->devices.empty());
    EXPECT_EQ(machine->kernel, (model::KernelVersion{7, 3}));
    EXPECT_EQ(read_machine("").value().devices.size(), 3U) << "one of each kind";
    EXPECT_EQ(read_machine("devices=edu,iommu=virtio,kernel=6.6").value().iommu, IommuKind::virtio);
    EXPECT_TRUE(read_machine(R"({"iommu": {"kind": "intel", "nesting": true}})").value().nesting);
    EXPECT_FALSE(machine->nesting);
    EXPECT_EQ(read_machine(R"({"iommu": {"kind": "virtio"}})").value().iova_ranges.back().last,
              0x7fffffffffU);
}

TEST(MachineFile, IsAFileWhereItsNameSaysSo) {
    std::string path = ::testing::TempDir() + "machineXXXXXX.json";
    const int fd = ::mkstemps(path.data(), 5);
    ASSERT_GE(fd, 0);
    std::ofstream(path) << R"({"devices": [{"kind": "edu"}]})";
    EXPECT_EQ(read_machine(path).value().devices.size(), 1U);
    std::ofstream(path) << R"({"devices": [)";
    EXPECT_EQ(read_machine(path).error().cause(), "it is no JSON");
    (void)::unlink(path.c_str());
    (void)::close(fd);
    EXPECT_EQ(read_machine(path).error().code(), ENOENT);
}

TEST(MachineFile, WhatIsWrongIsSaidInOneLineWithItsPlace) {
    const struct {
        const char* text;
        const char* cause;
    } kWrong[] = {
        {"{", "it is no JSON"},
        {R"({"colour": 1})",
         "the machine has no 'colour': its members are kernel, iommu, limits, mock, devices"},
        {R"({"kernel": 6.12})", "kernel is no string"},
        {R"({"kernel": "six"})", "kernel is no version such as 6.12"},
        {R"({"kernel": "5.10"})",
         "Linux 5.10 is not played: VFIO has cdevs from 6.6 on, and the model knows 7.3"},
        {R"({"kernel": "8.0"})",
         "Linux 8.0 is not played: VFIO has cdevs from 6.6 on, and the model knows 7.3"},
        {R"({"kernel": "6.12", "mock": true})", "the kernel's mock is that of Linux 7.3 only"},
        {R"({"mock": "on"})", "mock is neither true nor false"},
        {R"({"iommu": []})", "iommu is no object"},
        {R"({"iommu": {"kind": "arm"}})", "iommu.kind is 'arm': there are intel, virtio, smmuv3 and amd"},
        {R"({"iommu": {"page-sizes": "4K"}})", "iommu.page-sizes is no list"},
        {R"({"iommu": {"page-sizes": ["4K", "3K"]}})", "iommu.page-sizes[1] is no power of two"},
        {R"({"iommu": {"page-sizes": ["lots"]}})", "iommu.page-sizes[0] is no size"},
        {R"({"iommu": {"page-sizes": []}})",
         "page sizes are powers of two from 4K to 128T, and there is one at least"},
        {R"({"iommu": {"iova-ranges": [[0]]}})", "iommu.iova-ranges[0] is no [first, last]"},
        {R"({"iommu": {"iova-ranges": [["0x0", "x"]]}})", "iommu.iova-ranges[0] is no address"},
        {R"({"iommu": {"iova-ranges": [[-1, 4095]]}})", "iommu.iova-ranges[0] is no address"},
        {R"({"iommu": {"iova-ranges": [[8191, 4095]]}})", "iommu.iova-ranges[0] ends before it begins"},
        {R"({"iommu": {"iova-ranges": []}})", "no IOVA is usable"},
        {R"({"iommu": {"iova-ranges": [["0x1000", "0x1ffe"]]}})",
         "the IOVAs 0x1000 to 0x1ffe are not whole pages, or do not lie behind those before"},
        {R"({"iommu": {"iova-ranges": [[8192, 12287], [0, 4095]]}})",
         "the IOVAs 0x0 to 0xfff are not whole pages, or do not lie behind those before"},
        {R"({"iommu": {"reserved": [[0, "0xffffffffffffffff"]]}})", "no IOVA is usable"},
        {R"({"limits": {"memlock": "much"}})", "limits.memlock is no size"},
        {R"({"limits": {"sys-rawio": 1}})", "limits.sys-rawio is neither true nor false"},
        {R"({"devices": {}})", "devices is no list"},
        {R"({"devices": [7]})", "devices[0] is no object"},
        {R"({"devices": [{}]})", "devices[0] has no 'kind': edu, nvme, vdpa-blk or ivshmem"},
        {R"({"devices": [{"kind": "nvme", "doorbells": "ring"}]})",
         "devices[0].doorbells is neither poll nor trap"},
        {R"({"devices": [{"kind": "toaster"}]})", "devices[0] has no 'kind': edu, nvme, vdpa-blk or ivshmem"},
        {R"({"devices": [{"kind": "edu", "size": "1M"}]})",
         "devices[0] has no 'size': its members are kind, name, dma-bits, page-requests, doorbells, group"},
        {R"({"devices": [{"kind": "edu", "dma-bits": "32"}]})", "devices[0].dma-bits is no number of bits"},
        {R"({"devices": [{"kind": "edu", "dma-bits": 5}]})", "edu has 12 to 64 DMA bits"},
        {R"({"devices": [{"kind": "edu", "name": "here"}]})", "'here' names no PCI device"},
        {R"({"devices": [{"kind": "edu", "group": [{"address": 7}]}]})", "devices[0].group[0] is no string"},
        {R"({"devices": [{"kind": "edu", "group": [{"address": "1f.3"}]}]})", "'1f.3' is no PCI address"},
        {R"({"devices": [{"kind": "vdpa-blk", "size": 100}]})", "a disk's size is a multiple of 512"},
        {R"({"devices": [{"kind": "vdpa-blk", "name": "a"}, {"kind": "vdpa-blk", "name": "a"}]})",
         "names are unique"},
    };
    for (const auto& [text, cause] : kWrong) {
        const auto machine = read_machine(text);
        ASSERT_FALSE(machine) << text;
        EXPECT_EQ(machine.error().code(), EINVAL) << text;
        EXPECT_EQ(machine.error().cause(), cause) << text;
        EXPECT_EQ(machine.error().line().find('\n'), std::string::npos) << text;
    }
    EXPECT_EQ(read_machine("{\"a\\nb\": 1}").error().line().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace iommufd::cli
