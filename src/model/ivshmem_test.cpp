// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A card whose second BAR is memory, as Linux 7.3.4 shows QEMU's.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vfio;

constexpr std::uint64_t kMemory = std::uint64_t{2} << 40;
constexpr std::uint64_t kConfig = std::uint64_t{7} << 40;
constexpr std::uint64_t kSize = 4U << 20;

class ModelIvshmem : public ::testing::Test {
protected:
    ModelIvshmem() { EXPECT_EQ(bench_.bind(cdev_), 1); }

    template <class T>
    T get(std::uint64_t offset) {
        T value{};
        EXPECT_EQ(kernel_.pread(cdev_, &value, sizeof value, offset), static_cast<ssize_t>(sizeof value));
        return value;
    }
    template <class T>
    void put(std::uint64_t offset, T value) {
        EXPECT_EQ(kernel_.pwrite(cdev_, &value, sizeof value, offset), static_cast<ssize_t>(sizeof value));
    }
    // The mapping, or what mmap says.
    std::intptr_t map(std::uint64_t position, std::size_t length, int flags = MAP_SHARED) {
        void* address = nullptr;
        const int rc = kernel_.mmap(&address, length, PROT_READ | PROT_WRITE, flags, cdev_, position);
        return rc < 0 ? rc : reinterpret_cast<std::intptr_t>(address);
    }
    std::uint32_t* map_memory() { return reinterpret_cast<std::uint32_t*>(map(kMemory, kSize)); }
    // Whether a program that touched it would get SIGBUS.
    static bool is_away(const void* address) {
        const HostFd file(::memfd_create("touched", MFD_CLOEXEC));
        return ::write(file.number(), address, 4) < 0 && errno == EFAULT;
    }
    int reset() { return kernel_.ioctl(cdev_, kDeviceReset, nullptr); }

    Bench bench_{{.devices = {{.kind = DeviceKind::ivshmem}}}};
    sys::Kernel& kernel_ = bench_.kernel();
    int cdev_ = bench_.open("/dev/vfio/devices/vfio0");
};

TEST_F(ModelIvshmem, ShowsWhatLinuxShowsOfQemus) {
    std::array<std::uint32_t, 16> header{};
    EXPECT_EQ(kernel_.pread(cdev_, header.data(), sizeof header, kConfig),
              static_cast<ssize_t>(sizeof header));
    EXPECT_EQ(header[0], 0x11101af4U);
    EXPECT_EQ(header[1], 0x00000103U) << "memory is decoded, and there are no capabilities";
    EXPECT_EQ(header[2], 0x05000001U);
    EXPECT_EQ(header[6] & 0xf, 0xcU) << "64 bits, prefetchable";
    EXPECT_EQ(header[11], 0x11001af4U);
    EXPECT_EQ(header[15], 0U) << "no interrupt";
    put<std::uint32_t>(kConfig + 0x10, ~0U);
    put<std::uint64_t>(kConfig + 0x18, ~std::uint64_t{0});
    EXPECT_EQ(get<std::uint32_t>(kConfig + 0x10), 0xffffff00U);
    EXPECT_EQ(get<std::uint64_t>(kConfig + 0x18), 0xffffffffffc0000cU);

    for (const auto& [index, size] :
         {std::pair{0U, 0x100UL}, {1U, 0UL}, {2U, kSize}, {3U, 0UL}, {7U, 256UL}}) {
        RegionInfo info{.argsz = sizeof info, .index = index};
        EXPECT_EQ(kernel_.ioctl(cdev_, kDeviceGetRegionInfo, &info), 0);
        EXPECT_EQ(info.size, size) << index;
        EXPECT_EQ(info.flags, size == 0    ? 0U
                              : index == 2 ? kRegionRead | kRegionWrite | kRegionMmap
                                           : kRegionRead | kRegionWrite);
    }
    for (const std::uint32_t index : {kPciIntx, kPciMsi, kPciMsix}) {
        IrqInfo info{.argsz = sizeof info, .index = index};
        EXPECT_EQ(kernel_.ioctl(cdev_, kDeviceGetIrqInfo, &info), 0);
        EXPECT_EQ(info.count, 0U) << index;
    }
    uapi::vfio::DeviceInfo info{.argsz = sizeof info};
    EXPECT_EQ(kernel_.ioctl(cdev_, kDeviceGetInfo, &info), 0);
    EXPECT_EQ(info.flags, kDeviceFlagPci | kDeviceFlagReset);
}

TEST_F(ModelIvshmem, ItsRegistersAnswerAsQemusDo) {
    for (const std::uint64_t offset : {0U, 4U, 8U, 12U, 16U}) EXPECT_EQ(get<std::uint32_t>(offset), 0U);
    put<std::uint32_t>(0, 0x44332211);
    put<std::uint32_t>(4, 0x88776655);
    put<std::uint32_t>(12, 1);  // nobody hears it
    EXPECT_EQ(get<std::uint32_t>(0), 0x44332211U);
    EXPECT_EQ(get<std::uint32_t>(4), 0x88776655U);
    EXPECT_EQ(get<std::uint32_t>(4), 0U) << "reading the status clears it";
    put<std::uint8_t>(0, 0xaa);
    EXPECT_EQ(get<std::uint32_t>(0), 0xaaU);
    put<std::uint16_t>(2, 0xccbb);
    EXPECT_EQ(get<std::uint64_t>(0), 0xccbbU);
    EXPECT_EQ(get<std::uint16_t>(2), 0U);
    EXPECT_EQ(reset(), 0);
    EXPECT_EQ(get<std::uint32_t>(0), 0U);
}

TEST_F(ModelIvshmem, WhatIsWrittenByOneWayIsReadByTheOther) {
    put<std::uint32_t>(kMemory + 8, 7);
    put<std::uint32_t>(kMemory + kSize - 4, 8);
    auto* const memory = map_memory();
    EXPECT_EQ(memory[2], 7U);
    EXPECT_EQ(memory[kSize / 4 - 1], 8U);
    memory[3] = 9;
    EXPECT_EQ(get<std::uint32_t>(kMemory + 12), 9U);
    auto* const last = reinterpret_cast<std::uint32_t*>(map(kMemory + kSize - kPage, kPage));
    last[0] = 10;
    EXPECT_EQ(memory[(kSize - kPage) / 4], 10U);
    std::array<std::byte, 3 * kPage> bytes{};
    EXPECT_EQ(kernel_.pread(cdev_, bytes.data(), bytes.size(), kMemory + kSize - 2 * kPage),
              static_cast<ssize_t>(2 * kPage));
    EXPECT_EQ(bytes[kPage], std::byte{10});
    EXPECT_EQ(kernel_.pread(cdev_, bytes.data(), 1, kMemory + kSize), -EINVAL);
    EXPECT_EQ(kernel_.munmap(memory, kSize), 0);
    EXPECT_EQ(kernel_.munmap(last, kPage), 0);
}

TEST_F(ModelIvshmem, OnlyWhatIsMemoryAndIsSharedAndInsideIsMapped) {
    EXPECT_EQ(map(0, kPage), -EINVAL);
    EXPECT_EQ(map(kConfig, kPage), -EINVAL);
    EXPECT_EQ(map(std::uint64_t{1} << 40, kPage), -EINVAL);
    EXPECT_EQ(map(std::uint64_t{6} << 40, kPage), -EINVAL);
    EXPECT_EQ(map(std::uint64_t{9} << 40, kPage), -EINVAL);
    EXPECT_EQ(map(kMemory + kSize, kPage), -EINVAL);
    EXPECT_EQ(map(kMemory + kSize - kPage, 2 * kPage), -EINVAL);
    EXPECT_EQ(map(kMemory, kPage, MAP_PRIVATE), -EINVAL);
}

TEST_F(ModelIvshmem, WithoutMemoryDecodingNothingReachesItAndNothingIsLost) {
    auto* const memory = map_memory();
    memory[0] = 1;
    put<std::uint16_t>(kConfig + 4, 0x100);
    EXPECT_TRUE(is_away(memory));
    std::uint32_t value = 5;
    for (const std::uint64_t offset : {std::uint64_t{0}, kMemory}) {
        EXPECT_EQ(kernel_.pread(cdev_, &value, sizeof value, offset), -EIO);
        EXPECT_EQ(kernel_.pwrite(cdev_, &value, sizeof value, offset), -EIO);
    }
    auto* const second = reinterpret_cast<std::uint32_t*>(map(kMemory, kPage));
    EXPECT_TRUE(is_away(second)) << "it is mapped all the same";
    put<std::uint16_t>(kConfig + 4, 0x102);
    EXPECT_FALSE(is_away(memory));
    EXPECT_EQ(memory[0], 1U);
    second[1] = 2;
    EXPECT_EQ(get<std::uint64_t>(kMemory), 0x200000001U);
    EXPECT_EQ(kernel_.munmap(memory, kSize), 0);
    EXPECT_EQ(kernel_.munmap(second, kPage), 0);
}

TEST_F(ModelIvshmem, AMappingKeepsTheDeviceAndItsMemoryOutlivesBoth) {
    auto* const memory = map_memory();
    memory[0] = 3;
    EXPECT_EQ(reset(), 0);
    EXPECT_EQ(memory[0], 3U);
    EXPECT_EQ(bench_.close(cdev_), 0);
    cdev_ = bench_.open("/dev/vfio/devices/vfio0");
    EXPECT_EQ(bench_.bind(cdev_), -EINVAL) << "the mapping has it";
    memory[1] = 4;
    EXPECT_EQ(kernel_.munmap(memory, kSize), 0);
    EXPECT_EQ(bench_.bind(cdev_), 1);
    EXPECT_EQ(get<std::uint64_t>(kMemory), 0x400000003U);
}

}  // namespace
}  // namespace iommufd::model::testing
