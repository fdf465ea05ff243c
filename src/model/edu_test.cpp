// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The edu device, from its registers to memory: everything between the cdev and the I/O page table.
#include <gtest/gtest.h>

#include <numeric>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vfio;

constexpr std::uint32_t kSetEventfd = kIrqSetDataEventfd | kIrqSetTrigger;
constexpr std::uint64_t kIova = 0x100000;

class ModelEdu : public ::testing::Test {
protected:
    void SetUp() override {
        ioas = bench.ioas();
        ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
        ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), kIova), 0);
    }

    EduBench bench;
    Memory memory{2 * kPage};
    std::uint32_t ioas = 0;
};

TEST_F(ModelEdu, CopiesMemoryBothWaysWithAnInterruptEachAndIsBlockedElsewhere) {
    const Event event;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    std::iota(memory.bytes(), memory.bytes() + kPage, static_cast<unsigned char>(3));

    bench.read_memory(kIova, kPage, true);
    EXPECT_EQ(bench.get<std::uint64_t>(0x98) & 1, 0U);
    EXPECT_EQ(event.count(), 1U);
    EXPECT_EQ(bench.get<std::uint32_t>(0x24), 0x100U);
    bench.put<std::uint32_t>(0x64, 0x100);
    EXPECT_EQ(bench.get<std::uint32_t>(0x24), 0U);

    bench.write_memory(kIova + kPage, kPage, true);
    EXPECT_EQ(event.count(), 1U);
    EXPECT_EQ(std::memcmp(memory.bytes(), memory.bytes() + kPage, kPage), 0);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);

    // Half of it reaches memory, the other half nothing.
    std::memset(memory.bytes(), 0, memory.size());
    bench.write_memory(kIova + kPage + kPage / 2, kPage, true);
    EXPECT_EQ(event.count(), 1U) << "it ignores bus errors";
    EXPECT_EQ(memory.bytes()[kPage + kPage / 2 - 1], 0);
    EXPECT_EQ(memory.bytes()[kPage + kPage / 2], 3);
    const std::vector<BlockedDma> blocked = bench.machine.blocked_dma();
    ASSERT_EQ(blocked.size(), 1U);
    EXPECT_EQ(blocked[0].device, "0000:00:10.0");
    EXPECT_EQ(blocked[0].iova, kIova + 2 * kPage);
    EXPECT_EQ(blocked[0].length, kPage / 2);
    EXPECT_TRUE(blocked[0].write);
}

TEST_F(ModelEdu, ReadsZeroesWhereNothingIsMapped) {
    memory.fill(0xaa);
    bench.read_memory(kIova, kPage);
    bench.read_memory(0x500000, kPage);
    bench.write_memory(kIova, kPage);
    EXPECT_EQ(memory.bytes()[0], 0);
    EXPECT_EQ(memory.bytes()[kPage - 1], 0);
    ASSERT_EQ(bench.machine.blocked_dma().size(), 1U);
    EXPECT_FALSE(bench.machine.blocked_dma()[0].write);
}

TEST_F(ModelEdu, ReachesNothingAnyMoreAfterUnmapDetachAndReplace) {
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.unmap(ioas, kIova, memory.size()), static_cast<std::int64_t>(memory.size()));
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U);
    ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), kIova), 0);
    ASSERT_GT(bench.attach(bench.cdev, bench.ioas()), 0);
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 2U);
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 2U);
    ASSERT_EQ(bench.detach(bench.cdev), 0);
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 3U);
}

TEST_F(ModelEdu, CutsAddressesOffAt28Bits) {
    memory.fill(0x11);
    bench.read_memory(kIova, kPage);
    memory.fill(0);
    bench.write_memory(kIova | 1ULL << 28 | 1ULL << 40, kPage);
    EXPECT_EQ(memory.bytes()[0], 0x11);
}

TEST_F(ModelEdu, NeedsBusMasteringForDma) {
    bench.set_command(0x102);
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U);
    bench.set_command(0x106);
    bench.read_memory(kIova, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U);
}

TEST_F(ModelEdu, MovesNothingOutsideItsBuffer) {
    memory.fill(0x22);
    bench.dma(0x40000 + 1, kIova, kPage, 3);
    bench.dma(0x3ffff, kIova, 1, 3);
    bench.dma(0x40000, kIova, ~0ULL, 3);
    bench.dma(0x41000, kIova, 0, 3);
    EXPECT_EQ(memory.bytes()[0], 0x22);
    EXPECT_EQ(bench.get<std::uint64_t>(0x98), 2U) << "each has ended";
}

TEST_F(ModelEdu, HonoursThePermissionsOfTheMap) {
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x800000, uapi::kMapReadable), 0);
    memory.fill(0x33);
    bench.read_memory(0x800000, kPage);
    memory.fill(0x44);
    bench.write_memory(0x800000, kPage);
    EXPECT_EQ(memory.bytes()[0], 0x44);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U);
    bench.write_memory(kIova, kPage);
    EXPECT_EQ(memory.bytes()[0], 0x33);
}

// An edu that asks for pages, attached to a page table with a fault queue.
class ModelEduWithPageRequests : public ::testing::Test {
protected:
    void SetUp() override {
        uapi::FaultQueueAlloc queue{};
        ASSERT_EQ(bench.call(uapi::kFaultQueueAlloc, queue), 0);
        faults = static_cast<int>(queue.out_fault_fd);
        ioas = bench.ioas();
        uapi::HwptAlloc table{.flags = uapi::kHwptFaultIdValid,
                              .dev_id = bench.device,
                              .pt_id = ioas,
                              .fault_id = queue.out_fault_id};
        ASSERT_EQ(bench.call(uapi::kHwptAlloc, table), 0);
        ASSERT_GT(bench.attach(bench.cdev, table.out_hwpt_id), 0);
        memory.fill(0x55);
    }
    void TearDown() override { (void)bench.close(faults); }

    bool waits() { return (bench.get<std::uint64_t>(0x98) & 1) != 0; }
    uapi::HwptPgfault request() {
        uapi::HwptPgfault fault{};
        EXPECT_EQ(bench.kernel().read(faults, &fault, sizeof fault), static_cast<ssize_t>(sizeof fault));
        return fault;
    }
    void answer(const uapi::HwptPgfault& fault, std::uint32_t code) {
        const uapi::HwptPageResponse response{.cookie = fault.cookie, .code = code};
        EXPECT_EQ(bench.kernel().write(faults, &response, sizeof response),
                  static_cast<ssize_t>(sizeof response));
    }

    EduBench bench{parse("devices=edu:page-requests=on").value()};
    Memory memory{2 * kPage};
    std::uint32_t ioas = 0;
    int faults = -1;
};

TEST_F(ModelEduWithPageRequests, WaitsForAPageAndMovesAllWhenItIsThere) {
    const Event event;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, kIova), 0);
    bench.read_memory(kIova + kPage / 2, kPage, true);
    EXPECT_TRUE(waits());
    bench.put<std::uint64_t>(0x80, 7);
    EXPECT_EQ(bench.get<std::uint64_t>(0x80), kIova + kPage / 2) << "it takes no other while one runs";
    const uapi::HwptPgfault fault = request();
    EXPECT_EQ(fault.addr, kIova + kPage) << "the first that isn't there";
    EXPECT_EQ(fault.dev_id, bench.device);
    EXPECT_EQ(fault.perm, uapi::kFaultPermRead);
    EXPECT_EQ(fault.flags, uapi::kFaultLastPage);
    ASSERT_EQ(bench.map(ioas, memory.address() + kPage, kPage, kIova + kPage), 0);
    answer(fault, uapi::kPageResponseSuccess);
    EXPECT_TRUE(event.wait());
    EXPECT_FALSE(waits());
    memory.fill(0);
    bench.write_memory(kIova, kPage);
    EXPECT_EQ(memory.bytes()[kPage - 1], 0x55);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
}

TEST_F(ModelEduWithPageRequests, EndsItsDmaBlockedWhenNoPageWillBeThere) {
    const Event event;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    bench.write_memory(kIova, kPage, true);
    const uapi::HwptPgfault fault = request();
    EXPECT_EQ(fault.perm, uapi::kFaultPermWrite);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
    answer(fault, uapi::kPageResponseInvalid);
    EXPECT_TRUE(event.wait());
    EXPECT_FALSE(waits());
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U);
}

TEST_F(ModelEduWithPageRequests, EndsItsDmaWhenItIsDetachedReadOrNot) {
    const Event event;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    bench.write_memory(kIova, kPage, true);
    (void)request();
    ASSERT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_TRUE(event.wait());
    EXPECT_FALSE(waits());
}

TEST_F(ModelEdu, WithoutPageRequestsIsAttachedToNoTableWithAFaultQueue) {
    uapi::FaultQueueAlloc queue{};
    ASSERT_EQ(bench.call(uapi::kFaultQueueAlloc, queue), 0);
    uapi::HwptAlloc table{.flags = uapi::kHwptFaultIdValid,
                          .dev_id = bench.device,
                          .pt_id = ioas,
                          .fault_id = queue.out_fault_id};
    ASSERT_EQ(bench.call(uapi::kHwptAlloc, table), 0);
    EXPECT_EQ(bench.attach(bench.cdev, table.out_hwpt_id), -ENODEV);
    (void)bench.close(static_cast<int>(queue.out_fault_fd));
}

TEST_F(ModelEdu, AnswersItsRegisters) {
    EXPECT_EQ(bench.get<std::uint32_t>(0x00), 0x010000edU);
    bench.put<std::uint32_t>(0x04, 0x12345678);
    EXPECT_EQ(bench.get<std::uint32_t>(0x04), ~0x12345678U);
    bench.put<std::uint32_t>(0x08, 5);
    EXPECT_EQ(bench.get<std::uint32_t>(0x08), 120U);
    bench.put<std::uint32_t>(0x08, ~0U);
    EXPECT_EQ(bench.get<std::uint32_t>(0x08), 0U);
    EXPECT_EQ(bench.get<std::uint32_t>(0x20) & 1, 0U);
    EXPECT_EQ(bench.get<std::uint64_t>(0x00), ~0ULL) << "8 bytes are for the DMA registers";
    EXPECT_EQ(bench.get<std::uint64_t>(0x80), 0U);
    EXPECT_EQ(bench.get<std::uint16_t>(0x00), 0U) << "2 bytes for none";
    EXPECT_EQ(bench.get<std::uint32_t>(0x40000), ~0U) << "the buffer is reached by DMA only";
}

TEST_F(ModelEdu, RaisesAnInterruptAfterAFactorialIfAsked) {
    const Event event;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    bench.put<std::uint32_t>(0x08, 3);
    EXPECT_EQ(event.count(), 0U);
    bench.put<std::uint32_t>(0x20, 0x80);
    bench.put<std::uint32_t>(0x08, 3);
    EXPECT_EQ(event.count(), 1U);
    EXPECT_EQ(bench.get<std::uint32_t>(0x24), 1U);
}

TEST_F(ModelEdu, ALineInterruptStaysMaskedUntilItIsHandled) {
    const Event event;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciIntx, 1, event.number()), 0);
    bench.put<std::uint32_t>(0x60, 1);
    bench.put<std::uint32_t>(0x60, 2);
    EXPECT_EQ(event.count(), 1U);
    EXPECT_EQ(bench.irq(kIrqSetDataNone | kIrqSetUnmask, kPciIntx, 1), 0);
    EXPECT_EQ(event.count(), 1U) << "it is still asserted";
    bench.put<std::uint32_t>(0x64, 3);
    EXPECT_EQ(bench.irq(kIrqSetDataNone | kIrqSetUnmask, kPciIntx, 1), 0);
    EXPECT_EQ(event.count(), 0U);
    EXPECT_EQ(bench.irq(kIrqSetDataNone | kIrqSetMask, kPciIntx, 1), 0);
    bench.put<std::uint32_t>(0x60, 1);
    EXPECT_EQ(event.count(), 0U);
    // Unmasked by an eventfd, which the machine's thread watches.
    const Event unmask;
    EXPECT_EQ(bench.irq(kIrqSetDataEventfd | kIrqSetUnmask, kPciIntx, 1, unmask.number()), 0);
    unmask.signal();
    EXPECT_TRUE(event.wait());
    // The command register can hold it back, too.
    bench.set_command(0x506);
    unmask.signal();
    bench.put<std::uint32_t>(0x60, 1);
    EXPECT_EQ(event.count(), 0U);
    bench.set_command(0x106);
    EXPECT_TRUE(event.wait());
}

}  // namespace
}  // namespace iommufd::model::testing
