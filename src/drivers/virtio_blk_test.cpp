// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/virtio_blk.hpp"

#include <gmock/gmock.h>

#include <cstring>

#include "iommufd/dma/memory.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd::drivers {
namespace {

using testing::HasSubstr;

constexpr const char* kNode = "/dev/vhost-vdpa-0";
constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kWindow = 64_KiB;  // then data

class VirtioBlkTest : public testing::Test {
protected:
    static model::Description one_disk() {
        model::Description wanted;
        wanted.devices = {{.kind = model::DeviceKind::vdpa_blk, .disk_size = 8_MiB}};
        return wanted;
    }

    Window window() const { return {memory_.data(), kBase, kWindow}; }
    std::byte* data() const { return memory_.data() + kWindow; }
    static constexpr Iova kData{kBase.value + kWindow};

    model::Machine machine_{one_disk()};
    dma::Memory memory_ = dma::Memory::memfd(2_MiB).value();
    vdpa::Device device_ = vdpa::Device::open(kNode, {.kernel = &machine_.kernel()}).value();
    dma::Space space_ = dma::Space::without_iommufd({}).value();
    dma::Attachment attachment_ = space_.attach(device_).value();
    dma::Mapping mapping_ = space_.map(memory_, {.iova = kBase}).value();
};

TEST_F(VirtioBlkTest, IdentifiesTheDisk) {
    auto disk = VirtioBlk::start(device_, window()).value();
    const auto identity = disk.identify().value();
    EXPECT_FALSE(identity.serial.empty());
    EXPECT_EQ(identity.capacity, 8_MiB);
    EXPECT_EQ(identity.block_size, 512U);
    EXPECT_FALSE(identity.read_only);
}

TEST_F(VirtioBlkTest, ReadsWhatItWrote) {
    auto disk = VirtioBlk::start(device_, window()).value();
    constexpr std::uint64_t kLength = 700 << 10;  // several requests
    for (std::uint64_t i = 0; i < kLength; ++i) data()[i] = static_cast<std::byte>(i * 7 + i / 253);
    const std::vector<std::byte> sent(data(), data() + kLength);
    disk.write(1_MiB, kData, kLength).value();
    disk.flush().value();
    std::memset(data(), 0, kLength);
    disk.read(1_MiB, kData + 1_MiB, kLength).value();
    EXPECT_EQ(std::memcmp(data() + 1_MiB, sent.data(), kLength), 0);
    disk.read(1_MiB + 512, kData, 512).value();
    EXPECT_EQ(std::memcmp(data(), sent.data() + 512, 512), 0);
}

TEST_F(VirtioBlkTest, RefusesWhatIsNotOnTheDisk) {
    auto disk = VirtioBlk::start(device_, window()).value();
    EXPECT_EQ(disk.read(8_MiB, kData, 512).error().code(), ERANGE);
    EXPECT_EQ(disk.read(8_MiB - 512, kData, 1024).error().code(), ERANGE);
    EXPECT_EQ(disk.read(~0ULL - 511, kData, 1024).error().code(), ERANGE);
    EXPECT_EQ(disk.read(1, kData, 512).error().code(), EINVAL);
    EXPECT_EQ(disk.write(0, kData, 100).error().code(), EINVAL);
    EXPECT_TRUE(disk.read(8_MiB, kData, 0));
}

TEST_F(VirtioBlkTest, IsToldOfMemoryThatIsNotMapped) {
    auto disk = VirtioBlk::start(device_, window()).value();
    const auto error = disk.read(0, kBase + 64_MiB, 4096).error();
    EXPECT_EQ(error.code(), EIO);
    EXPECT_THAT(error.line(), HasSubstr("cannot read sector 0 of vhost-vdpa /dev/vhost-vdpa-0"));
    EXPECT_GT(machine_.blocked_dma_count(), 0U);
    EXPECT_TRUE(disk.identify());
}

TEST_F(VirtioBlkTest, GivesUpOnADeviceThatDoesNotAnswer) {
    auto disk = VirtioBlk::start(device_, {memory_.data(), kBase + 64_MiB, kWindow},
                                 {.timeout = std::chrono::milliseconds(20)})
                    .value();
    const auto error = disk.identify().error();
    EXPECT_EQ(error.code(), ETIMEDOUT);
    EXPECT_THAT(error.line(), HasSubstr("it was reset"));
    EXPECT_EQ(device_.status().value(), 0);
    EXPECT_EQ(disk.flush().error().code(), ESHUTDOWN);
    // With its queue where it can be reached, all is well.
    EXPECT_TRUE(VirtioBlk::start(device_, window()).value().identify());
}

TEST_F(VirtioBlkTest, LetsGoOfTheDeviceWhenItGoes) {
    {
        auto disk = VirtioBlk::start(device_, window()).value();
        auto moved = std::move(disk);
        EXPECT_TRUE(moved.identify());
        EXPECT_NE(device_.status().value(), 0);
    }
    EXPECT_EQ(device_.status().value(), 0);
    auto disk = VirtioBlk::start(device_, window()).value();
    disk.stop().value();
    disk.stop().value();
    EXPECT_EQ(disk.identify().error().code(), ESHUTDOWN);
}

TEST_F(VirtioBlkTest, WantsAWindowThatHoldsTheQueue) {
    EXPECT_EQ(VirtioBlk::start(device_, {memory_.data(), kBase, 100}).error().code(), EINVAL);
    EXPECT_EQ(VirtioBlk::start(device_, {memory_.data() + 8, kBase + 8, kWindow}).error().code(), EINVAL);
    EXPECT_EQ(VirtioBlk::start(device_, window(), {.queue_size = 2}).error().code(), EINVAL);
    EXPECT_TRUE(
        VirtioBlk::start(device_, {memory_.data(), kBase, VirtioBlk::bytes_needed(4)}, {.queue_size = 4})
            .value()
            .identify());
    // Down to a power of two, and to what the device takes.
    EXPECT_TRUE(VirtioBlk::start(device_, window(), {.queue_size = 1000}).value().identify());
}

TEST(VirtioBlkFaults, EveryCallMayFail) {
    for (std::uint64_t n = 1;; ++n) {
        model::Description wanted;
        wanted.devices = {{.kind = model::DeviceKind::vdpa_blk, .disk_size = 1_MiB}};
        model::Machine machine(wanted);
        sys::FaultyKernel kernel(machine.kernel(), {.call = n, .error = EIO});
        const auto memory = dma::Memory::memfd(128_KiB).value();
        {
            auto device = vdpa::Device::open(kNode, {.kernel = &kernel});
            if (device) {
                auto space = dma::Space::without_iommufd({}).value();
                auto attachment = space.attach(*device);
                auto mapping = space.map(memory, {.iova = kBase});
                if (attachment && mapping) {
                    auto disk = VirtioBlk::start(*device, {memory.data(), kBase, kWindow},
                                                 {.timeout = std::chrono::milliseconds(500)});
                    if (disk) {
                        (void)disk->identify();
                        (void)disk->write(0, kBase + kWindow, 4096);
                        (void)disk->stop();
                    }
                }
            }
        }
        EXPECT_EQ(machine.leaks().text(), "nothing") << "call " << n;
        if (!kernel.struck()) break;
        ASSERT_LT(n, 500U);
    }
}

}  // namespace
}  // namespace iommufd::drivers
