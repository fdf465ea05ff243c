// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// BARs as dma-bufs: what is refused, what other devices reach, what revokes them. Errnos are those of Linux 7.3.4.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <thread>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vfio;

constexpr std::uint64_t kSize = 4U << 20;
constexpr std::uint64_t kMemoryBar = std::uint64_t{2} << 40;
constexpr std::uint64_t kPeer = 0x100000;
constexpr std::uint64_t kRam = 0x10000;

Description edu_and_others() {
    return {.devices = {{.kind = DeviceKind::edu}, {.kind = DeviceKind::ivshmem}, {.kind = DeviceKind::edu}}};
}

// An edu that does DMA, a card with memory, and a second edu, all bound, the first attached with a page of memory.
class ModelDmaBuf : public ::testing::Test {
protected:
    explicit ModelDmaBuf(const Description& description = edu_and_others()) : bench_(description) {
        EXPECT_GT(bench_.bind(card_), 0);
        EXPECT_GT(bench_.bind(other_), 0);
        EXPECT_GT(bench_.attach(bench_.cdev, ioas_), 0);
        EXPECT_EQ(bench_.map(ioas_, ram_.address(), kPage, kRam), 0);
    }

    // A descriptor, or a negative errno.
    int export_bar(int cdev, std::uint32_t bar, std::initializer_list<RegionDmaRange> ranges,
                   FeatureDmaBuf head = {}, std::uint32_t flags = kFeatureGet, std::uint32_t more = 0) {
        struct {
            DeviceFeature feature;
            FeatureDmaBuf head;
            RegionDmaRange ranges[4];
        } command{};
        head.region_index = bar;
        head.nr_ranges = static_cast<std::uint32_t>(ranges.size()) + more;
        command.feature = {.argsz = sizeof command, .flags = kFeatureDmaBuf | flags};
        command.head = head;
        std::ranges::copy(ranges, command.ranges);
        const int fd = kernel_.ioctl(cdev, kDeviceFeature, &command);
        if (fd > 0) opened_.push_back(fd);
        return fd;
    }
    int map_file(int fd, std::uint64_t length, std::uint64_t iova = kPeer) {
        return bench_.map_file(ioas_, fd, 0, length, iova);
    }
    void set_command(int cdev, std::uint16_t command) {
        EXPECT_EQ(kernel_.pwrite(cdev, &command, sizeof command, EduBench::kConfig + 4), 2);
    }
    template <class T>
    T get(int cdev, std::uint64_t offset) {
        T value{};
        EXPECT_EQ(kernel_.pread(cdev, &value, sizeof value, offset), static_cast<ssize_t>(sizeof value));
        return value;
    }
    template <class T>
    void put(int cdev, std::uint64_t offset, T value) {
        EXPECT_EQ(kernel_.pwrite(cdev, &value, sizeof value, offset), static_cast<ssize_t>(sizeof value));
    }
    // By DMA of the first edu; zero where it is blocked.
    template <class T>
    T read_by_dma(std::uint64_t iova) {
        bench_.read_memory(iova, sizeof(T));
        bench_.write_memory(kRam, sizeof(T));
        T value{};
        std::memcpy(&value, reinterpret_cast<const void*>(ram_.address()), sizeof value);
        return value;
    }
    template <class T>
    void write_by_dma(std::uint64_t iova, T value) {
        std::memcpy(reinterpret_cast<void*>(ram_.address()), &value, sizeof value);
        bench_.read_memory(kRam, sizeof value);
        bench_.write_memory(iova, sizeof value);
    }
    std::uint64_t blocked() const { return bench_.machine.blocked_dma_count(); }

    ~ModelDmaBuf() override {
        for (const int fd : opened_) (void)kernel_.close(fd);
    }

    EduBench bench_;
    sys::Kernel& kernel_ = bench_.kernel();
    const int card_ = bench_.open("/dev/vfio/devices/vfio1");
    const int other_ = bench_.open("/dev/vfio/devices/vfio2");
    const std::uint32_t ioas_ = bench_.ioas();
    const Memory ram_{kPage};
    std::vector<int> opened_;
};

TEST_F(ModelDmaBuf, WhatLinuxRefusesIsRefused) {
    constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max() - kPage + 1;
    constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
    EXPECT_GT(export_bar(card_, 2, {{0, kSize}}), 0);
    EXPECT_GT(export_bar(card_, 2, {{0, kPage}, {2 * kPage, kPage}}), 0);
    EXPECT_EQ(export_bar(card_, 2, {{kPage, kSize}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 0, {{0, kPage}}), -EINVAL) << "its 256 bytes are no page";
    EXPECT_EQ(export_bar(card_, 1, {{0, kPage}}), -ENODEV);
    EXPECT_EQ(export_bar(card_, 6, {{0, kPage}}), -ENODEV);
    EXPECT_EQ(export_bar(card_, 99, {{0, kPage}}), -ENODEV);
    EXPECT_EQ(export_bar(card_, 2, {}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, kPage}}, {.flags = 1}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{1, kPage}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, 1}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, 0}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{kTop, kPage}}), -EOVERFLOW);
    EXPECT_EQ(export_bar(card_, 2, {{kHalf, kHalf}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, kHalf}, {0, kHalf}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, kTop}}), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, kPage}}, {}, kFeatureGet, 1U << 31), -ENOMEM);
    EXPECT_EQ(export_bar(card_, 2, {}, {}, kFeatureProbe | kFeatureGet), 0);
    EXPECT_EQ(export_bar(card_, 2, {}, {}, kFeatureProbe), 0);
    EXPECT_EQ(export_bar(card_, 2, {}, {}, kFeatureProbe | kFeatureSet), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, kPage}}, {}, kFeatureSet), -EINVAL);
    EXPECT_EQ(export_bar(card_, 2, {{0, kPage}}, {}, 0), -EINVAL);
}

TEST_F(ModelDmaBuf, OneOfPiecesOrBeyondItsEndIsNotMapped) {
    EXPECT_EQ(map_file(export_bar(card_, 2, {{0, kPage}, {2 * kPage, kPage}}), 2 * kPage), -EOPNOTSUPP);
    EXPECT_EQ(map_file(export_bar(card_, 2, {{0, kPage}}), 2 * kPage), -EINVAL);
}

TEST_F(ModelDmaBuf, MemoryOfACardIsReachedFromTheOffsetThatWasExported) {
    ASSERT_EQ(map_file(export_bar(card_, 2, {{kPage, 2 * kPage}}), 2 * kPage), 0);
    put<std::uint32_t>(card_, kMemoryBar + kPage + 8, 7);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer + 8), 7U);
    write_by_dma<std::uint32_t>(kPeer + 2 * kPage - 4, 8);
    EXPECT_EQ(get<std::uint32_t>(card_, kMemoryBar + 3 * kPage - 4), 8U);
    EXPECT_EQ(blocked(), 0U);
    write_by_dma<std::uint32_t>(kPeer + 2 * kPage, 9);
    EXPECT_EQ(blocked(), 1U);
}

TEST_F(ModelDmaBuf, ItIsReachedWhileAProgramHasMappedItToo) {
    ASSERT_EQ(map_file(export_bar(card_, 2, {{0, kSize}}), kSize), 0);
    void* address = nullptr;
    ASSERT_EQ(kernel_.mmap(&address, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, card_, kMemoryBar), 0);
    auto* const memory = static_cast<volatile std::uint32_t*>(address);
    memory[1] = 5;
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer + 4), 5U);
    write_by_dma<std::uint32_t>(kPeer + 8, 6);
    EXPECT_EQ(memory[2], 6U);
    EXPECT_EQ(kernel_.munmap(address, kSize), 0);
}

TEST_F(ModelDmaBuf, RegistersOfAnotherDeviceAreReadAndWrittenByDma) {
    ASSERT_EQ(map_file(export_bar(other_, 0, {{0, kPage}}), kPage), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 0x010000edU);
    write_by_dma<std::uint32_t>(kPeer + 4, 0x12345678);
    EXPECT_EQ(get<std::uint32_t>(other_, 4), ~0x12345678U);
    EXPECT_EQ(blocked(), 0U);
}

// The first edu starts the DMA of the second, behind the same page table.
TEST_F(ModelDmaBuf, ADeviceIsStartedByAnothersDma) {
    ASSERT_GT(bench_.attach(other_, ioas_), 0);
    set_command(other_, 0x106);
    ASSERT_EQ(map_file(export_bar(other_, 0, {{0, kPage}}), kPage), 0);
    put<std::uint64_t>(other_, 0x80, 0x40000);
    put<std::uint64_t>(other_, 0x88, kRam + 8);
    put<std::uint64_t>(other_, 0x90, 4);
    std::memset(reinterpret_cast<void*>(ram_.address()), 0xee, 16);
    write_by_dma<std::uint64_t>(kPeer + 0x98, 3);
    std::uint32_t written = ~0U;
    std::memcpy(&written, reinterpret_cast<const void*>(ram_.address() + 8), sizeof written);
    EXPECT_EQ(written, 0U) << "the second edu's buffer is empty";
    EXPECT_EQ(blocked(), 0U);
}

TEST_F(ModelDmaBuf, ADeviceThatReachesForItselfGetsNoAnswer) {
    ASSERT_EQ(map_file(export_bar(bench_.cdev, 0, {{0, kPage}}), kPage), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 0U);
    ASSERT_EQ(blocked(), 1U);
    EXPECT_EQ(bench_.machine.blocked_dma()[0].iova, kPeer);
}

TEST_F(ModelDmaBuf, TwoDevicesReachEachOtherFromTwoThreads) {
    ASSERT_GT(bench_.attach(other_, ioas_), 0);
    set_command(other_, 0x106);
    ASSERT_EQ(map_file(export_bar(other_, 0, {{0, kPage}}), kPage), 0);
    ASSERT_EQ(map_file(export_bar(bench_.cdev, 0, {{0, kPage}}), kPage, 2 * kPeer), 0);
    const auto reads = [&](int cdev, std::uint64_t from) {
        for (int i = 0; i < 5000; ++i) {
            put<std::uint64_t>(cdev, 0x80, from);
            put<std::uint64_t>(cdev, 0x88, 0x40000);
            put<std::uint64_t>(cdev, 0x90, 4);
            put<std::uint64_t>(cdev, 0x98, 1);
        }
    };
    std::thread first([&] { reads(bench_.cdev, kPeer); });
    reads(other_, 2 * kPeer);
    first.join();
}

TEST_F(ModelDmaBuf, AResetRevokesWhatIsMappedForGoodAndTheDescriptorCanBeMappedAgain) {
    const int fd = export_bar(card_, 2, {{0, kSize}});
    ASSERT_EQ(map_file(fd, kSize), 0);
    put<std::uint32_t>(card_, kMemoryBar, 7);
    ASSERT_EQ(kernel_.ioctl(card_, kDeviceReset, nullptr), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 0U);
    EXPECT_EQ(blocked(), 1U);
    EXPECT_EQ(bench_.unmap(ioas_, kPeer, kSize), static_cast<std::int64_t>(kSize));
    ASSERT_EQ(map_file(fd, kSize), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 7U);
}

TEST_F(ModelDmaBuf, WithoutMemoryDecodingNothingIsMapped) {
    const int fd = export_bar(card_, 2, {{0, kSize}});
    ASSERT_EQ(map_file(fd, kSize), 0);
    put<std::uint32_t>(card_, kMemoryBar, 7);
    set_command(card_, 0x100);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 0U);
    EXPECT_EQ(map_file(fd, kSize, 8 * kSize), -ENODEV);
    EXPECT_EQ(map_file(export_bar(card_, 2, {{0, kSize}}), kSize, 8 * kSize), -ENODEV)
        << "exported meanwhile";
    set_command(card_, 0x102);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 0U) << "for good";
    ASSERT_EQ(map_file(fd, kSize, 8 * kSize), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(8 * kSize), 7U);
}

TEST_F(ModelDmaBuf, OneOfAClosedDeviceIsRevokedForGood) {
    const int fd = export_bar(card_, 2, {{0, kSize}});
    ASSERT_EQ(map_file(fd, kSize), 0);
    put<std::uint32_t>(card_, kMemoryBar, 7);
    EXPECT_EQ(bench_.close(card_), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(kPeer), 0U);
    const int again = bench_.open("/dev/vfio/devices/vfio1");
    EXPECT_GT(bench_.bind(again), 0);
    EXPECT_EQ(map_file(fd, kSize, 8 * kSize), -ENODEV);
    EXPECT_EQ(map_file(export_bar(again, 2, {{0, kSize}}), kSize, 8 * kSize), 0);
    EXPECT_EQ(read_by_dma<std::uint32_t>(8 * kSize), 7U);
}

class ModelDmaBufBefore619 : public ModelDmaBuf {
protected:
    ModelDmaBufBefore619()
        : ModelDmaBuf([] {
              Description machine = edu_and_others();
              machine.kernel = {.major = 6, .minor = 18};
              return machine;
          }()) {}
};

TEST_F(ModelDmaBufBefore619, NoBarIsExported) {
    EXPECT_EQ(export_bar(card_, 2, {{0, kSize}}), -ENOTTY);
    EXPECT_EQ(export_bar(card_, 2, {}, {}, kFeatureProbe | kFeatureGet), -ENOTTY);
}

}  // namespace
}  // namespace iommufd::model::testing
