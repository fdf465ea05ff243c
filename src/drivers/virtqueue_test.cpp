// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/virtqueue.hpp"

#include <gmock/gmock.h>

#include <cstring>

namespace iommufd::drivers {
namespace {

using namespace uapi::virtio;

constexpr std::uint16_t kSize = 8;
constexpr Iova kIova{0x10000};

// The device's side of the ring, taken by hand.
class VirtqueueTest : public testing::Test {
protected:
    std::byte* at(Iova iova) { return memory_.data() + (iova - kIova); }

    Desc descriptor(std::uint16_t index) {
        Desc found;
        std::memcpy(&found, at(queue_.addresses().descriptors + sizeof(Desc) * index), sizeof found);
        return found;
    }
    std::uint16_t available(std::size_t word) {
        std::uint16_t found;
        std::memcpy(&found, at(queue_.addresses().available + 2 * word), sizeof found);
        return found;
    }
    std::uint16_t available_idx() { return available(1); }
    std::uint16_t head(std::uint16_t idx) { return available(2 + idx % kSize); }

    void complete(std::uint32_t id, std::uint32_t written) {
        const UsedElem element{.id = id, .len = written};
        std::memcpy(at(queue_.addresses().used + sizeof(UsedHeader) + sizeof element * (used_ % kSize)),
                    &element, sizeof element);
        set_used_idx(++used_);
    }
    void set_used_idx(std::uint16_t idx) {
        std::memcpy(at(queue_.addresses().used + offsetof(UsedHeader, idx)), &idx, sizeof idx);
    }

    alignas(4096) std::array<std::byte, 4096> memory_{};
    std::uint16_t used_ = 0;
    Virtqueue queue_{{memory_.data(), kIova, memory_.size()}, kSize};
};

const Segment kRead{Iova{0x1000}, 16, false};
const Segment kWritten{Iova{0x2000}, 512, true};

TEST_F(VirtqueueTest, LaysOutTheRingAsVirtioAsks) {
    const auto addresses = queue_.addresses();
    EXPECT_EQ(addresses.descriptors, kIova);
    EXPECT_EQ(addresses.available, kIova + std::uint64_t{16} * kSize);
    EXPECT_EQ(addresses.used.value % 64, 0U);
    EXPECT_GE(addresses.used - addresses.available, 4U + 2 * kSize + 2);
    EXPECT_EQ(Virtqueue::bytes_needed(kSize), addresses.used - kIova + 4 + std::uint64_t{8} * kSize + 2);
}

TEST_F(VirtqueueTest, ChainsARequest) {
    const std::array segments{kRead, kWritten, Segment{Iova{0x3000}, 1, true}};
    const auto offered = queue_.offer(segments).value();
    EXPECT_EQ(available_idx(), 1);
    EXPECT_EQ(head(0), offered);
    const Desc first = descriptor(offered);
    EXPECT_EQ(first.addr, 0x1000U);
    EXPECT_EQ(first.len, 16U);
    EXPECT_EQ(first.flags, kDescNext);
    const Desc second = descriptor(first.next);
    EXPECT_EQ(second.addr, 0x2000U);
    EXPECT_EQ(second.flags, kDescNext | kDescWrite);
    const Desc third = descriptor(second.next);
    EXPECT_EQ(third.addr, 0x3000U);
    EXPECT_EQ(third.flags, kDescWrite);
}

TEST_F(VirtqueueTest, TakesWhatTheDeviceIsDoneWithInItsOrder) {
    EXPECT_FALSE(queue_.take().value());
    const auto first = queue_.offer(std::array{kRead}).value();
    const auto second = queue_.offer(std::array{kRead, kWritten}).value();
    complete(second, 512);
    complete(first, 0);
    const auto one = queue_.take().value();
    EXPECT_EQ(one->head, second);
    EXPECT_EQ(one->written, 512U);
    EXPECT_EQ(queue_.take().value()->head, first);
    EXPECT_FALSE(queue_.take().value());
}

TEST_F(VirtqueueTest, RefusesWhatDoesNotFitUntilThereIsRoom) {
    const std::array three{kRead, kWritten, kWritten};
    const auto first = queue_.offer(three).value();
    (void)queue_.offer(three).value();
    EXPECT_EQ(queue_.offer(three).error().code(), ENOSPC);
    EXPECT_EQ(queue_.offer({}).error().code(), ENOSPC);
    EXPECT_EQ(available_idx(), 2);
    complete(first, 1);
    EXPECT_TRUE(queue_.take().value());
    EXPECT_TRUE(queue_.offer(three));
}

TEST_F(VirtqueueTest, GoesOnWhenIndicesWrapAround) {
    for (unsigned i = 0; i < 70000; ++i) {
        const auto offered = queue_.offer(std::array{kRead, kWritten}).value();
        EXPECT_EQ(head(static_cast<std::uint16_t>(i)), offered);
        complete(offered, i);
        EXPECT_EQ(queue_.take().value()->written, i);
    }
    EXPECT_EQ(available_idx(), 70000 % 65536);
}

TEST_F(VirtqueueTest, DoesNotTrustTheDevice) {
    const auto offered = queue_.offer(std::array{kRead, kWritten}).value();
    complete(kSize, 0);  // no such descriptor
    EXPECT_EQ(queue_.take().error().code(), EIO);
    --used_;
    complete(descriptor(offered).next, 0);  // not the head
    EXPECT_EQ(queue_.take().error().code(), EIO);
    --used_;
    complete(offered, 0);
    set_used_idx(kSize + 1);  // more than were ever offered
    EXPECT_EQ(queue_.take().error().code(), EIO);
    set_used_idx(2);
    EXPECT_TRUE(queue_.take().value());
    EXPECT_EQ(queue_.take().error().code(), EIO);  // again, though it was given back
}

TEST_F(VirtqueueTest, ADeviceThatChangesDescriptorsDoesNotChangeTheChains) {
    const auto first = queue_.offer(std::array{kRead, kWritten}).value();
    std::memset(at(queue_.addresses().descriptors), 0xff, sizeof(Desc) * kSize);
    complete(first, 0);
    EXPECT_TRUE(queue_.take().value());
    EXPECT_TRUE(queue_.offer(std::array{kRead, kRead, kRead, kRead, kRead, kRead, kRead, kWritten}));
}

}  // namespace
}  // namespace iommufd::drivers
