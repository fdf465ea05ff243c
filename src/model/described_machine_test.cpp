// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Machines other than the usual one: another IOMMU, a group that programs can't have, an older kernel.
#include <gtest/gtest.h>

#include <array>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

Description with(void (*change)(Description&)) {
    Description description;
    description.devices = {{}};
    change(description);
    return description;
}

TEST(ModelDescribedMachine, AVirtioIommuBindsOnlyWhereUnsafeInterruptsAreAllowed) {
    Bench refused(with([](Description& d) { d.iommu = IommuKind::virtio; }));
    EXPECT_EQ(refused.bind(refused.open("/dev/vfio/devices/vfio0")), -EPERM);

    Bench bench(with([](Description& d) {
        d.iommu = IommuKind::virtio;
        d.unsafe_interrupts = true;
        d.iova_ranges = {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};
    }));
    const int cdev = bench.open("/dev/vfio/devices/vfio0");
    const auto device = static_cast<std::uint32_t>(bench.bind(cdev));
    const std::uint32_t ioas = bench.ioas();
    EXPECT_GT(bench.attach(cdev, ioas), 0);
    EXPECT_EQ(bench.ranges(ioas).back().last, 0x7fffffffffU);
    EXPECT_EQ(bench.hwpt(device, ioas, uapi::kHwptPasid), -EOPNOTSUPP) << "its driver takes no flags";
    uapi::HwInfo info{.dev_id = device, .data_type = 77};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, info), 0);
    EXPECT_EQ(info.data_type, uapi::kHwInfoNone);
    std::vector<std::string> names;
    EXPECT_EQ(bench.kernel().readdir("/sys/class/iommu", names), 0);
    EXPECT_EQ(names, std::vector<std::string>{"virtio0"});
}

TEST(ModelDescribedMachine, AGroupWithADriverOfTheHostsIsNotViable) {
    Bench bench(with([](Description& d) {
        d.devices[0].siblings = {{.address = "0000:00:1f.3", .driver = "snd_hda_intel"}};
    }));
    EXPECT_EQ(bench.bind(bench.open("/dev/vfio/devices/vfio0")), -EBUSY);
    std::vector<std::string> names;
    EXPECT_EQ(bench.kernel().readdir("/sys/kernel/iommu_groups/0/devices", names), 0);
    EXPECT_EQ(names.size(), 2U);
    std::string driver;
    EXPECT_EQ(bench.kernel().readlink("/sys/bus/pci/devices/0000:00:1f.3/driver", driver), 0);
    EXPECT_TRUE(driver.ends_with("/snd_hda_intel")) << driver;

    Bench viable(with([](Description& d) {
        d.devices[0].siblings = {{.address = "0000:00:1f.3"},
                                 {.address = "0000:00:1f.4", .driver = "pcieport"}};
    }));
    EXPECT_GT(viable.bind(viable.open("/dev/vfio/devices/vfio0")), 0);
}

TEST(ModelDescribedMachine, PagesAreDirtyWhereTheIommuTracksThem) {
    EduBench none;
    EXPECT_EQ(none.hwpt(none.device, none.ioas(), uapi::kHwptDirtyTracking), -EOPNOTSUPP);

    EduBench bench(with([](Description& d) { d.dirty_tracking = true; }));
    EXPECT_EQ(bench.dirty_after_a_write(), 4U);
}

TEST(ModelDescribedMachine, AnIommuWhoseSmallestPageIsLargerThanTheProcessorsTakesNoDevice) {
    EduBench bench(with([](Description& d) { d.page_sizes = 1ULL << 16 | 1ULL << 29; }));
    EXPECT_EQ(bench.attach(bench.cdev, bench.ioas()), -EINVAL);
}

TEST(ModelDescribedMachine, WhatIsReservedIsShownAndRefused) {
    EduBench bench(with([](Description& d) { d.iova_ranges = {{0x100000, 0x7fffffffff}}; }));
    std::string regions;
    EXPECT_EQ(bench.kernel().read_file("/sys/kernel/iommu_groups/0/reserved_regions", regions), 0);
    EXPECT_EQ(regions, "0x0000000000000000 0x00000000000fffff reserved\n");
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const Memory memory(kPage);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0x8000000000), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0x100000), 0);
}

TEST(ModelDescribedMachine, AnOlderKernelLacksCommandsMembersAndFlags) {
    EduBench oldest(with([](Description& d) { d.kernel = {6, 6}; }));
    const std::uint32_t ioas = oldest.ioas();
    EXPECT_GT(oldest.hwpt(oldest.device, ioas), 0);
    EXPECT_EQ(oldest.hwpt(oldest.device, ioas, uapi::kHwptNestParent), -EOPNOTSUPP);
    uapi::HwptSetDirtyTracking track{};
    EXPECT_EQ(oldest.call(uapi::kHwptSetDirtyTracking, track), -ENOTTY);
    uapi::HwptAlloc with_fault{.dev_id = oldest.device, .pt_id = ioas, .fault_id = 1};
    EXPECT_EQ(oldest.call(uapi::kHwptAlloc, with_fault), -E2BIG);
    uapi::HwInfo info{.dev_id = oldest.device};
    EXPECT_EQ(oldest.call(uapi::kGetHwInfo, info), 0);
    EXPECT_EQ(info.out_capabilities, 0U) << "it is not known yet";

    EduBench newer(with([](Description& d) { d.kernel = {6, 12}; }));
    uapi::FaultQueueAlloc faults{};
    EXPECT_EQ(newer.call(uapi::kFaultQueueAlloc, faults), 0);
    (void)newer.kernel().close(static_cast<int>(faults.out_fault_fd));
    uapi::IoasChangeProcess change{};
    EXPECT_EQ(newer.call(uapi::kIoasChangeProcess, change), -ENOTTY);
    const Memory memory(kPage);
    const HostFd file(::memfd_create("test", MFD_CLOEXEC));
    EXPECT_EQ(newer.map_file(newer.ioas(), file.number(), 0, kPage, 0x1000), -ENOTTY);
    uapi::vfio::DeviceAttachIommufdPt attach{
        .argsz = sizeof attach, .flags = uapi::vfio::kAttachPasid, .pt_id = newer.ioas(), .pasid = 1};
    EXPECT_EQ(newer.kernel().ioctl(newer.cdev, uapi::vfio::kDeviceAttachIommufdPt, &attach), -EINVAL);
}

}  // namespace
}  // namespace iommufd::model::testing
