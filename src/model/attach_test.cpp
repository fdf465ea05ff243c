// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Attaching devices: automatic and manual hwpts, references, reserved ranges.
#include <gtest/gtest.h>

#include <array>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

constexpr std::uint64_t kGiB = 1ULL << 30;

Description two_devices() {
    Description description;
    description.devices = {{}, {}};
    return description;
}

TEST(ModelAttach, AnIoasGetsAnAutomaticHwptWhichGoesWithItsLastDevice) {
    EduBench bench(two_devices());
    const int second = bench.open("/dev/vfio/devices/vfio1");
    ASSERT_GT(bench.bind(second), 0);
    const std::uint32_t ioas = bench.ioas();
    const std::int64_t hwpt = bench.attach(bench.cdev, ioas);
    EXPECT_EQ(hwpt, ioas + 1);
    EXPECT_EQ(bench.attach(second, ioas), hwpt) << "both are behind the same IOMMU";
    EXPECT_EQ(bench.destroy(ioas), -EBUSY);
    EXPECT_EQ(bench.destroy(static_cast<std::uint32_t>(hwpt)), -EBUSY);
    EXPECT_EQ(bench.destroy(bench.device), -EBUSY);
    EXPECT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_EQ(bench.destroy(ioas), -EBUSY);
    EXPECT_EQ(bench.detach(second), 0);
    EXPECT_EQ(bench.detach(second), 0) << "twice is no error";
    EXPECT_EQ(bench.destroy(static_cast<std::uint32_t>(hwpt)), -ENOENT);
    EXPECT_EQ(bench.destroy(ioas), 0);
}

TEST(ModelAttach, AManualHwptStaysAndIsNeverPickedForAnIoas) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const std::int64_t manual = bench.hwpt(bench.device, ioas);
    ASSERT_GT(manual, 0);
    EXPECT_NE(bench.attach(bench.cdev, ioas), manual);
    EXPECT_EQ(bench.attach(bench.cdev, static_cast<std::uint32_t>(manual)), manual) << "replaced";
    EXPECT_EQ(bench.machine.leaks().objects, 3U) << "device, IOAS, manual hwpt: the automatic one is gone";
    EXPECT_EQ(bench.attach(bench.cdev, static_cast<std::uint32_t>(manual)), manual) << "the same again";
    EXPECT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_EQ(bench.destroy(ioas), -EBUSY);
    EXPECT_EQ(bench.destroy(static_cast<std::uint32_t>(manual)), 0);
    EXPECT_EQ(bench.destroy(ioas), 0);
}

TEST(ModelAttach, WhatCannotBeAttachedIsRefusedAndTheOldStays) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const std::int64_t hwpt = bench.attach(bench.cdev, ioas);
    ASSERT_GT(hwpt, 0);
    EXPECT_EQ(bench.attach(bench.cdev, 99), -ENOENT);
    EXPECT_EQ(bench.attach(bench.cdev, bench.device), -EINVAL);
    const Memory memory(kPage);
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000), 0);
    bench.read_memory(0x1000, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
}

TEST(ModelAttach, ReservedRangesComeWithADeviceAndGoWithIt) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    std::uint64_t alignment = 0;
    EXPECT_EQ(bench.ranges(ioas, &alignment).size(), 1U);
    EXPECT_EQ(alignment, 1U);

    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const std::vector<IovaRange> ranges = bench.ranges(ioas, &alignment);
    ASSERT_EQ(ranges.size(), 2U);
    EXPECT_EQ(ranges[0].first, 0U);
    EXPECT_EQ(ranges[0].last, 0xfedfffffU);
    EXPECT_EQ(ranges[1].first, 0xfef00000U);
    EXPECT_EQ(ranges[1].last, 0xffffffffffffU);
    EXPECT_EQ(alignment, kPage);

    const Memory memory(4 * kPage);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0xfee00000), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address(), 2 * kPage, 0xfedff000), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 1ULL << 48), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0x1800), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address(), 100, 0x1000), -EINVAL);
    EXPECT_EQ(bench.map(ioas, memory.address() + 8, kPage, 0x1000), -EINVAL);
    EXPECT_EQ(bench.map_anywhere(ioas, memory.address() + 8, kPage), -EINVAL);

    EXPECT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_EQ(bench.ranges(ioas).size(), 1U);
}

TEST(ModelAttach, AHwptBringsItsApertureAndADeviceTheRest) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.hwpt(bench.device, ioas), 0);
    const std::vector<IovaRange> ranges = bench.ranges(ioas);
    ASSERT_EQ(ranges.size(), 1U);
    EXPECT_EQ(ranges[0].last, 0xffffffffffffU);
}

TEST(ModelAttach, WhatIsInTheWayOfAReservedRangeRefusesTheDevice) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const Memory memory(kPage);
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0xfee01000), 0);
    EXPECT_EQ(bench.attach(bench.cdev, ioas), -EADDRINUSE);
    ASSERT_EQ(bench.unmap(ioas, 0xfee01000, kPage), static_cast<std::int64_t>(kPage));
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 1ULL << 48), 0) << "beyond the aperture";
    EXPECT_EQ(bench.attach(bench.cdev, ioas), -EADDRINUSE);
    EXPECT_EQ(bench.hwpt(bench.device, ioas), -EADDRINUSE);
    ASSERT_EQ(bench.unmap(ioas, 1ULL << 48, kPage), static_cast<std::int64_t>(kPage));
    ASSERT_EQ(bench.map(ioas, memory.address(), 100, 0x1000), 0) << "not whole pages";
    EXPECT_EQ(bench.attach(bench.cdev, ioas), -EADDRINUSE);
    ASSERT_EQ(bench.unmap(ioas, 0x1000, 100), 100);
    std::array<uapi::IovaRange, 1> allowed = {{{0xfe000000, 0xfeffffff}}};
    uapi::IoasAllowIovas command{
        .ioas_id = ioas, .num_iovas = 1, .allowed_iovas = reinterpret_cast<std::uint64_t>(allowed.data())};
    ASSERT_EQ(bench.call(uapi::kIoasAllowIovas, command), 0);
    EXPECT_EQ(bench.attach(bench.cdev, ioas), -EADDRINUSE);
    EXPECT_EQ(bench.machine.leaks().objects, 2U);
    EXPECT_EQ(bench.ranges(ioas).size(), 1U);
}

TEST(ModelAttach, WhatIsMappedBeforeTheAttachIsReachedAfterIt) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const Memory memory(2 * kPage);
    memory.fill(0x5a);
    ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), 0x100000), 0);
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, memory.size());
    bench.read_memory(0x101000, kPage);
    std::memset(memory.bytes(), 0, kPage);
    bench.write_memory(0x100000, kPage);
    EXPECT_EQ(memory.bytes()[100], 0x5a);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
}

TEST(ModelAttach, ReplaceMovesTheDeviceFromOneIoasToAnother) {
    EduBench bench;
    const std::uint32_t one = bench.ioas();
    const std::uint32_t two = bench.ioas();
    const Memory memory(2 * kPage);
    std::memset(memory.bytes(), 1, kPage);
    std::memset(memory.bytes() + kPage, 2, kPage);
    ASSERT_EQ(bench.map(one, memory.address(), kPage, 0x1000), 0);
    ASSERT_EQ(bench.map(two, memory.address() + kPage, kPage, 0x1000), 0);
    ASSERT_GT(bench.attach(bench.cdev, one), 0);
    ASSERT_GT(bench.attach(bench.cdev, two), 0);
    EXPECT_EQ(bench.ranges(one).size(), 1U) << "its reserved ranges have gone";
    EXPECT_EQ(bench.destroy(one), 0);
    bench.read_memory(0x1000, kPage);
    std::memset(memory.bytes() + kPage, 0, kPage);
    bench.write_memory(0x1000, kPage);
    EXPECT_EQ(memory.bytes()[kPage], 2);
}

TEST(ModelAttach, HwptAllocSaysWhatIsWrong) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    EXPECT_EQ(bench.hwpt(99, ioas), -ENOENT);
    EXPECT_EQ(bench.hwpt(ioas, ioas), -ENOENT) << "not a device";
    EXPECT_EQ(bench.hwpt(bench.device, 99), -EINVAL);
    EXPECT_EQ(bench.hwpt(bench.device, bench.device), -EINVAL);
    EXPECT_EQ(bench.hwpt(bench.device, ioas, uapi::kHwptNestParent), -EOPNOTSUPP);
    EXPECT_EQ(bench.hwpt(bench.device, ioas, uapi::kHwptDirtyTracking), -EOPNOTSUPP);
    EXPECT_EQ(bench.hwpt(bench.device, ioas, 1U << 31), -EOPNOTSUPP);
    const auto parent = static_cast<std::uint32_t>(bench.hwpt(bench.device, ioas));
    EXPECT_EQ(bench.hwpt(bench.device, parent), -EOPNOTSUPP);
    uapi::HwptAlloc command{.dev_id = bench.device, .pt_id = ioas, .data_len = 8};
    EXPECT_EQ(bench.call(uapi::kHwptAlloc, command), -EINVAL);
    command = {.dev_id = bench.device, .pt_id = ioas, .reserved = 1};
    EXPECT_EQ(bench.call(uapi::kHwptAlloc, command), -EOPNOTSUPP);
}

TEST(ModelAttach, HardwareInfoIsFilledAsFarAsThereIsRoom) {
    EduBench bench;
    std::array<std::byte, 40> room;
    room.fill(std::byte{0xff});
    uapi::HwInfo command{
        .dev_id = bench.device, .data_len = 40, .data_uptr = reinterpret_cast<std::uint64_t>(room.data())};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, command), 0);
    EXPECT_EQ(command.data_type, uapi::kHwInfoVtd);
    EXPECT_EQ(command.data_len, sizeof(uapi::HwInfoVtd));
    EXPECT_EQ(command.out_capabilities, uapi::kHwCapAtsNotSupported);
    EXPECT_EQ(room[39], std::byte{0});
    command = {.dev_id = bench.device, .data_len = 0};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, command), 0);
    command = {.dev_id = 99};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, command), -ENOENT);
    command = {.flags = 2, .dev_id = bench.device};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, command), -EOPNOTSUPP);
    command = {.dev_id = bench.device, .data_len = 8, .data_uptr = 8};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, command), -EFAULT);
}

TEST(ModelAttach, LargeMemoryIsMappedAndUnmappedWithoutAnythingLeft) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const Memory memory(16 * kPage);
    for (std::uint64_t iova = kGiB; iova < kGiB + 64 * memory.size(); iova += memory.size())
        ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), iova), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, 64 * memory.size());
    EXPECT_EQ(bench.unmap(ioas, 0, ~0ULL), static_cast<std::int64_t>(64 * memory.size()));
    EXPECT_EQ(bench.machine.leaks().pinned, 0U);
}

}  // namespace
}  // namespace iommufd::model::testing
