// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The framing of /dev/iommu's commands, ids, and who keeps an object alive.
#include <gtest/gtest.h>

#include <array>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

TEST(ModelContext, ArgumentsAreCheckedInTheOrderOfLinux) {
    Bench bench;
    sys::Kernel& kernel = bench.kernel();
    EXPECT_EQ(kernel.ioctl(bench.iommufd, uapi::iommufd_request(0x7f), nullptr), -ENOTTY);
    EXPECT_EQ(kernel.ioctl(bench.iommufd, uapi::iommufd_request(0x96), nullptr), -ENOTTY);
    // A number of ours with a foreign type: the size is looked at first.
    EXPECT_EQ(kernel.ioctl(bench.iommufd, 0x4181, nullptr), -EFAULT);
    std::uint32_t size = 12;
    EXPECT_EQ(kernel.ioctl(bench.iommufd, 0x4181, &size), -ENOTTY);
    EXPECT_EQ(kernel.ioctl(bench.iommufd, uapi::kIoasAlloc, nullptr), -EFAULT);
    size = 11;
    EXPECT_EQ(kernel.ioctl(bench.iommufd, uapi::kIoasAlloc, &size), -EINVAL);
}

TEST(ModelContext, AStructMayBeLongerIfWhatFollowsIsZero) {
    Bench bench;
    std::array<std::uint32_t, 8> longer{32};
    EXPECT_EQ(bench.kernel().ioctl(bench.iommufd, uapi::kIoasAlloc, longer.data()), 0);
    EXPECT_EQ(longer[2], 1U);
    longer = {32, 0, 0, 0, 0, 0, 0, 1};
    EXPECT_EQ(bench.kernel().ioctl(bench.iommufd, uapi::kIoasAlloc, longer.data()), -E2BIG);
}

TEST(ModelContext, HwptAllocTakesItsFirstVersion) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    std::array<std::uint32_t, 12> command{24, 0, bench.device, ioas, 0, 0, ~0U, ~0U};
    EXPECT_EQ(bench.kernel().ioctl(bench.iommufd, uapi::kHwptAlloc, command.data()), 0);
    EXPECT_NE(command[4], 0U);
    EXPECT_EQ(command[6], ~0U) << "nothing is written beyond what the program knows";
}

TEST(ModelContext, AReplyThatCannotBeWrittenLeavesNothingBehind) {
    Bench bench;
    const Memory page(kPage);
    auto* const command = reinterpret_cast<uapi::IoasAlloc*>(page.bytes());
    *command = {.size = sizeof *command, .flags = 0, .out_ioas_id = 0};
    ASSERT_EQ(::mprotect(page.bytes(), page.size(), PROT_READ), 0);
    EXPECT_EQ(bench.kernel().ioctl(bench.iommufd, uapi::kIoasAlloc, command), -EFAULT);
    EXPECT_EQ(bench.machine.leaks().objects, 0U);
    EXPECT_EQ(bench.ioas(), 1U);
}

TEST(ModelContext, IdsAreTheLowestFreeOnesFromOne) {
    Bench bench;
    EXPECT_EQ(bench.ioas(), 1U);
    EXPECT_EQ(bench.ioas(), 2U);
    EXPECT_EQ(bench.ioas(), 3U);
    EXPECT_EQ(bench.destroy(1), 0);
    EXPECT_EQ(bench.destroy(2), 0);
    EXPECT_EQ(bench.ioas(), 1U);
    EXPECT_EQ(bench.ioas(), 2U);
    EXPECT_EQ(bench.ioas(), 4U);
    EXPECT_EQ(bench.destroy(99), -ENOENT);
}

TEST(ModelContext, ReadAndWriteAreRefused) {
    Bench bench;
    char buffer[8] = {};
    EXPECT_EQ(bench.kernel().read(bench.iommufd, buffer, sizeof buffer), -EINVAL);
    EXPECT_EQ(bench.kernel().write(bench.iommufd, buffer, sizeof buffer), -EINVAL);
    void* address = nullptr;
    EXPECT_EQ(bench.kernel().mmap(&address, kPage, PROT_READ, MAP_SHARED, bench.iommufd, 0), -ENXIO);
    EXPECT_EQ(bench.kernel().mmap(&address, kPage, PROT_READ, MAP_PRIVATE, bench.iommufd, 0), -EINVAL);
}

TEST(ModelContext, ItLivesAsLongAsADeviceIsBoundToIt) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    EXPECT_GT(bench.attach(bench.cdev, ioas), 0);
    EXPECT_EQ(bench.close(bench.iommufd), 0);
    EXPECT_EQ(bench.machine.leaks().contexts, 1U);
    EXPECT_GT(bench.attach(bench.cdev, ioas), 0) << "the device can still be attached in it";
    EXPECT_EQ(bench.close(bench.cdev), 0);
    EXPECT_FALSE(bench.machine.leaks().any()) << bench.machine.leaks().text();
}

TEST(ModelContext, WhatTheIommuCannotDoIsNotSupportedRatherThanUnknown) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const auto hwpt = static_cast<std::uint32_t>(bench.hwpt(bench.device, ioas));
    uapi::HwptSetDirtyTracking set{.flags = 1, .hwpt_id = hwpt};
    EXPECT_EQ(bench.call(uapi::kHwptSetDirtyTracking, set), -EOPNOTSUPP);
    set.hwpt_id = ioas;
    EXPECT_EQ(bench.call(uapi::kHwptSetDirtyTracking, set), -ENOENT);
    uapi::HwptGetDirtyBitmap get{.hwpt_id = hwpt, .iova = 0, .length = 4096, .page_size = 4096};
    EXPECT_EQ(bench.call(uapi::kHwptGetDirtyBitmap, get), -EOPNOTSUPP);
    get.page_size = 0;
    EXPECT_EQ(bench.call(uapi::kHwptGetDirtyBitmap, get), -EINVAL);
    uapi::HwptInvalidate invalidate{.hwpt_id = 77, .entry_num = 5};
    EXPECT_EQ(bench.call(uapi::kHwptInvalidate, invalidate), -EINVAL);
    EXPECT_EQ(invalidate.entry_num, 0U);
    uapi::ViommuAlloc viommu{.type = 1, .dev_id = bench.device, .hwpt_id = hwpt};
    EXPECT_EQ(bench.call(uapi::kViommuAlloc, viommu), -EOPNOTSUPP);
    viommu.dev_id = 77;
    EXPECT_EQ(bench.call(uapi::kViommuAlloc, viommu), -ENOENT);
    uapi::VdeviceAlloc vdevice{};
    EXPECT_EQ(bench.call(uapi::kVdeviceAlloc, vdevice), -ENOENT);
    uapi::VeventqAlloc veventq{.type = 1, .veventq_depth = 0};
    EXPECT_EQ(bench.call(uapi::kVeventqAlloc, veventq), -EINVAL);
    uapi::HwQueueAlloc queue{.type = 1, .length = 1};
    EXPECT_EQ(bench.call(uapi::kHwQueueAlloc, queue), -ENOENT);
    uapi::IoasNoiommuGetPa pa{.ioas_id = ioas, .iova = 0x1000, .length = 1};
    EXPECT_EQ(bench.call(uapi::kIoasNoiommuGetPa, pa), -ENOENT);
    const Memory memory(kPage);
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000), 0);
    EXPECT_EQ(bench.call(uapi::kIoasNoiommuGetPa, pa), -EOPNOTSUPP);
}

}  // namespace
}  // namespace iommufd::model::testing
