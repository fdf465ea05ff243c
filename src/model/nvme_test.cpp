// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The NVMe controller, register by register. The statuses are those that QEMU 10.0.2's controller gave to the same commands behind
// an intel-iommu.
#include "model/nvme.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vfio;
using nvme::Command;
using nvme::Completion;

constexpr std::uint64_t kIova = 0x100000;
constexpr std::uint64_t kUnmapped = 0x900000;
constexpr std::uint32_t kSetEventfd = kIrqSetDataEventfd | kIrqSetTrigger;
constexpr std::uint32_t kOn = 6U << 16 | 4U << 20 | 1;

// The memory's pages: 0 and 1 the admin queues, 2 and 3 data and lists, 4 and 5 the I/O queues, then data.
constexpr std::uint64_t page(unsigned number) { return kIova + number * kPage; }

class ModelNvme : public ::testing::Test {
protected:
    ModelNvme() : bench(parse("devices=nvme:size=64M").value()) {}
    void SetUp() override {
        const std::uint32_t ioas = bench.ioas();
        ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
        ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), kIova), 0);
    }

    std::uint32_t enable(std::uint32_t sizes = 0x000f000f, std::uint64_t submissions = page(0),
                         std::uint32_t configuration = kOn) {
        bench.put<std::uint32_t>(0x14, 0);
        queues[0] = queues[1] = {};
        memory.fill(0);
        bench.put(0x24, sizes);
        bench.put(0x28, submissions);
        bench.put(0x30, page(1));
        bench.put(0x14, configuration);
        return bench.get<std::uint32_t>(0x1c);
    }

    // Announces a command and takes its answer; the status without the phase, or -1 where there is none.
    int run(unsigned queue, Command command) {
        submit(queue, command);
        Completion answer{};
        if (!take(queue, answer)) return -1;
        EXPECT_EQ(answer.command_id, command.id);
        EXPECT_EQ(answer.sq_id, queue);
        EXPECT_EQ(answer.sq_head, queues[queue].tail);
        result = answer.result;
        return answer.status >> 1;
    }
    void submit(unsigned queue, const Command& command) {
        Place& place = queues[queue];
        std::memcpy(memory.bytes() + (queue == 0 ? 0 : 4) * kPage + place.tail * sizeof command, &command,
                    sizeof command);
        place.tail = (place.tail + 1) % 16;
        bench.put<std::uint32_t>(0x1000 + 8 * queue, place.tail);
    }
    bool take(unsigned queue, Completion& answer) {
        Place& place = queues[queue];
        std::memcpy(&answer, memory.bytes() + (queue == 0 ? 1 : 5) * kPage + place.head * sizeof answer,
                    sizeof answer);
        if ((answer.status & 1) != place.phase) return false;
        place.head = (place.head + 1) % 16;
        if (place.head == 0) place.phase ^= 1;
        bench.put<std::uint32_t>(0x1004 + 8 * queue, place.head);
        return true;
    }
    void make_queues() {
        ASSERT_EQ(enable(), 1U);
        ASSERT_EQ(run(0, {.opcode = 5, .prp1 = page(5), .cdw10 = 0x000f0001, .cdw11 = 3}), 0);
        ASSERT_EQ(run(0, {.opcode = 1, .prp1 = page(4), .cdw10 = 0x000f0001, .cdw11 = 1 | 1U << 16}), 0);
    }
    std::string text(std::size_t offset, std::size_t length) const {
        return {reinterpret_cast<const char*>(memory.bytes()) + offset, length};
    }
    void put(std::size_t offset, std::uint64_t value) const {
        std::memcpy(memory.bytes() + offset, &value, sizeof value);
    }
    template <class T>
    T at(std::size_t offset) const {
        T value{};
        std::memcpy(&value, memory.bytes() + offset, sizeof value);
        return value;
    }

    struct Place {
        unsigned tail = 0;
        unsigned head = 0;
        unsigned phase = 1;
    };
    EduBench bench;
    Memory memory{64 * kPage};
    Place queues[2];
    std::uint32_t result = 0;
};

TEST_F(ModelNvme, DescribesItselfToVfioAsQemusDoes) {
    DeviceInfo info{.argsz = 20};
    ASSERT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceGetInfo, &info), 0);
    EXPECT_EQ(info.flags, kDeviceFlagPci | kDeviceFlagReset);
    RegionInfo bar{.argsz = sizeof bar, .index = kPciBar0};
    ASSERT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceGetRegionInfo, &bar), 0);
    EXPECT_EQ(bar.size, 0x4000U);
    const std::uint32_t counts[] = {1, 0, 65, 1, 1};
    const std::uint32_t flags[] = {7, 9, 1, 9, 9};
    for (std::uint32_t index = 0; index < std::size(counts); ++index) {
        IrqInfo irq{.argsz = sizeof irq, .index = index};
        ASSERT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceGetIrqInfo, &irq), 0);
        EXPECT_EQ(irq.count, counts[index]) << index;
        EXPECT_EQ(irq.flags, flags[index]) << index;
    }
    EXPECT_EQ(bench.get<std::uint32_t>(EduBench::kConfig), 0x00101b36U);
    EXPECT_EQ(bench.get<std::uint32_t>(EduBench::kConfig + 8), 0x01080202U);
    EXPECT_EQ(bench.get<std::uint64_t>(EduBench::kConfig + 0x10), 0xc000000004U);
    EXPECT_EQ(bench.get<std::uint32_t>(EduBench::kConfig + 0x40) & 0xffff00ff, 0x00400011U);
    EXPECT_EQ(bench.get<std::uint32_t>(EduBench::kConfig + 0x44), 0x2000U);
    EXPECT_EQ(bench.get<std::uint32_t>(EduBench::kConfig + 0x48), 0x3000U);
}

TEST_F(ModelNvme, ShowsItsRegistersInAnyWidthAndNothingOfItsMsixTable) {
    EXPECT_EQ(bench.get<std::uint64_t>(0), 0x004008200f0107ffU);
    EXPECT_EQ(bench.get<std::uint32_t>(4), 0x00400820U);
    EXPECT_EQ(bench.get<std::uint16_t>(2), 0x0f01U);
    EXPECT_EQ(bench.get<std::uint8_t>(1), 0x07U);
    EXPECT_EQ(bench.get<std::uint32_t>(8), 0x00010400U);
    for (const unsigned offset : {0x2000U, 0x200cU, 0x240cU})
        EXPECT_EQ(bench.get<std::uint32_t>(offset), ~0U) << offset;
    EXPECT_EQ(bench.get<std::uint32_t>(0x2410), 0U);
    bench.put<std::uint64_t>(0x28, 0x1234500000000000);
    EXPECT_EQ(bench.get<std::uint32_t>(0x2c), 0x12345000U);
}

TEST_F(ModelNvme, StartsOnlyOnWhatItCanUse) {
    EXPECT_EQ(enable(), 1U);
    EXPECT_EQ(enable(0), 2U) << "queues of one entry";
    EXPECT_EQ(enable(0x000f000f, page(0) + 4), 2U);
    EXPECT_EQ(enable(0x000f000f, page(0), kOn | 5U << 7), 2U) << "pages of 128 KiB";
    EXPECT_EQ(enable(0x000f000f, page(0), kOn | 1U << 4), 2U) << "another command set";
    EXPECT_EQ(enable(), 1U);
    bench.put<std::uint32_t>(0x14, kOn | 1U << 14);
    EXPECT_EQ(bench.get<std::uint32_t>(0x1c), 9U) << "shut down";
    bench.put<std::uint32_t>(0x14, 0);
    EXPECT_EQ(bench.get<std::uint32_t>(0x1c), 0U);
    EXPECT_EQ(bench.get<std::uint32_t>(0x24), 0x000f000fU) << "kept";
}

TEST_F(ModelNvme, IdentifiesItselfItsNamespaceAndTheirList) {
    ASSERT_EQ(enable(), 1U);
    EXPECT_EQ(run(0, {.opcode = 6, .prp1 = page(2), .cdw10 = 1}), 0);
    EXPECT_EQ(text(2 * kPage + 24, 10), "NVMe model");
    EXPECT_EQ(at<std::uint8_t>(2 * kPage + 77), 7) << "at most 512 KiB at once";
    EXPECT_EQ(run(0, {.opcode = 6, .nsid = 1, .prp1 = page(2)}), 0);
    EXPECT_EQ(at<std::uint64_t>(2 * kPage), 0x20000U);
    EXPECT_EQ(at<std::uint8_t>(2 * kPage + 130), 9);
    EXPECT_EQ(run(0, {.opcode = 6, .nsid = 2, .prp1 = page(2)}), 0);
    EXPECT_EQ(at<std::uint64_t>(2 * kPage), 0U) << "not there, but known";
    EXPECT_EQ(run(0, {.opcode = 6, .prp1 = page(2), .cdw10 = 2}), 0);
    EXPECT_EQ(at<std::uint64_t>(2 * kPage), 1U);
    // Two pages, where the first isn't whole.
    EXPECT_EQ(run(0, {.opcode = 6, .prp1 = page(2) + 0x800, .prp2 = page(6), .cdw10 = 1}), 0);
    EXPECT_EQ(text(2 * kPage + 0x800 + 24, 10), "NVMe model");
    EXPECT_EQ(at<std::uint8_t>(6 * kPage), 0);
}

TEST_F(ModelNvme, AnswersAdminCommandsWithTheStatusesOfQemus) {
    make_queues();
    struct Case {
        const char* what;
        Command command;
        int status;
    };
    const Case cases[] = {
        {"namespace 0", {.opcode = 6, .prp1 = page(2)}, 0x400b},
        {"every namespace", {.opcode = 6, .nsid = ~0U, .prp1 = page(2)}, 0x400b},
        {"an unknown page", {.opcode = 6, .nsid = 1, .prp1 = page(2), .cdw10 = 0x99}, 0x4002},
        {"a page that isn't mapped", {.opcode = 6, .prp1 = kUnmapped, .cdw10 = 1}, 0},
        {"a second page misaligned",
         {.opcode = 6, .prp1 = page(2) + 2, .prp2 = page(3) + 1, .cdw10 = 1},
         0x4013},
        {"an unknown feature", {.opcode = 10, .cdw10 = 3}, 0x4002},
        {"65536 queues", {.opcode = 9, .cdw10 = 7, .cdw11 = ~0U}, 0x4002},
        {"an unknown command", {.opcode = 0x7f}, 0x4001},
        {"answers in queue 0", {.opcode = 5, .prp1 = page(7), .cdw10 = 0x000f0000, .cdw11 = 1}, 0x4101},
        {"of one entry", {.opcode = 5, .prp1 = page(7), .cdw10 = 2, .cdw11 = 1}, 0x4102},
        {"of 65536", {.opcode = 5, .prp1 = page(7), .cdw10 = 0xffff0002, .cdw11 = 1}, 0x4102},
        {"in pieces", {.opcode = 5, .prp1 = page(7), .cdw10 = 0x000f0002}, 0x4002},
        {"misaligned", {.opcode = 5, .prp1 = page(7) + 4, .cdw10 = 0x000f0002, .cdw11 = 1}, 0x4013},
        {"vector 200", {.opcode = 5, .prp1 = page(7), .cdw10 = 0x000f0002, .cdw11 = 3 | 200U << 16}, 0x4108},
        {"queue 100", {.opcode = 5, .prp1 = page(7), .cdw10 = 0x000f0064, .cdw11 = 1}, 0x4101},
        {"once more", {.opcode = 5, .prp1 = page(7), .cdw10 = 0x000f0001, .cdw11 = 1}, 0x4101},
        {"no answers", {.opcode = 1, .prp1 = page(7), .cdw10 = 0x000f0002, .cdw11 = 1 | 5U << 16}, 0x4100},
        {"in pieces", {.opcode = 1, .prp1 = page(7), .cdw10 = 0x000f0002, .cdw11 = 1U << 16}, 0x4002},
        {"misaligned",
         {.opcode = 1, .prp1 = page(7) + 4, .cdw10 = 0x000f0002, .cdw11 = 1 | 1U << 16},
         0x4013},
        {"of one entry", {.opcode = 1, .prp1 = page(7), .cdw10 = 2, .cdw11 = 1 | 1U << 16}, 0x4102},
        {"once more", {.opcode = 1, .prp1 = page(7), .cdw10 = 0x000f0001, .cdw11 = 1 | 1U << 16}, 0x4101},
        {"answers in use", {.opcode = 4, .cdw10 = 1}, 0x10c},
        {"no such queue", {.opcode = 0, .cdw10 = 5}, 0x4101},
        {"no such answers", {.opcode = 4, .cdw10 = 5}, 0x4100},
        {"delete", {.opcode = 0, .cdw10 = 1}, 0},
        {"delete", {.opcode = 4, .cdw10 = 1}, 0},
    };
    for (const Case& one : cases) EXPECT_EQ(run(0, one.command), one.status) << one.what;
    EXPECT_EQ(run(0, {.opcode = 10, .cdw10 = 7}), 0);
    EXPECT_EQ(result, 0x3f003fU) << "64 queues of each kind";
    EXPECT_EQ(run(0, {.opcode = 12}), -1) << "no event comes";
}

TEST_F(ModelNvme, AnswersReadsAndWritesWithTheStatusesOfQemus) {
    make_queues();
    put(3 * kPage, page(7));
    put(3 * kPage + 8, page(8) + 0x200);
    put(3 * kPage + 0x100, page(7));
    put(3 * kPage + 0x108, kUnmapped);
    struct Case {
        const char* what;
        Command command;
        int status;
    };
    const Command read{.opcode = 2, .nsid = 1, .prp1 = page(6)};
    const auto with = [&](auto change) {
        Command command = read;
        change(command);
        return command;
    };
    const Case cases[] = {
        {"a block", read, 0},
        {"over the end", with([](Command& c) { c.cdw10 = 0x1ffff, c.cdw12 = 1; }), 0x4080},
        {"far away", with([](Command& c) { c.cdw10 = c.cdw11 = ~0U, c.cdw12 = 1; }), 0x4080},
        {"namespace 0", with([](Command& c) { c.nsid = 0; }), 0x400b},
        {"namespace 2", with([](Command& c) { c.nsid = 2; }), 0x4002},
        {"every namespace", with([](Command& c) { c.nsid = ~0U; }), 0x400b},
        {"to where nothing is mapped", with([](Command& c) { c.prp1 = kUnmapped; }), 0},
        {"a second page misaligned", with([](Command& c) { c.prp2 = page(7) + 0x200, c.cdw12 = 8; }), 0x4013},
        {"a list with one misaligned", with([](Command& c) { c.prp2 = page(3), c.cdw12 = 23; }), 0x4013},
        {"a list with one unmapped", with([](Command& c) { c.prp2 = page(3) + 0x100, c.cdw12 = 23; }), 0},
        {"a list that is unmapped", with([](Command& c) { c.prp2 = kUnmapped, c.cdw12 = 23; }), 0x4004},
        {"more than 512 KiB", with([](Command& c) { c.prp2 = page(3), c.cdw12 = 0xffff; }), 0x4002},
        {"flush", {.opcode = 0, .nsid = 1}, 0},
        {"flush all", {.opcode = 0, .nsid = ~0U}, 0},
        {"flush nothing", {.opcode = 0}, 0x400b},
        {"zero over the end", {.opcode = 8, .nsid = 1, .cdw10 = 0x1ffff, .cdw12 = 7}, 0x4080},
        {"an unknown command", {.opcode = 0x7f, .nsid = 1}, 0x4001},
    };
    for (const Case& one : cases) EXPECT_EQ(run(1, one.command), one.status) << one.what;
    EXPECT_EQ(bench.machine.blocked_dma_count(), 3U);
}

TEST_F(ModelNvme, MovesDataThroughListsOfPagesAndKeepsIt) {
    make_queues();
    // Eight pages from the middle of one on; the list begins in its page's last two places and goes on in the next page.
    std::iota(memory.bytes() + 6 * kPage, memory.bytes() + 16 * kPage, static_cast<unsigned char>(3));
    const std::string data = text(6 * kPage + 0x800, 8 * kPage);
    put(3 * kPage - 16, page(7));
    put(3 * kPage - 8, page(3));
    for (unsigned i = 0; i < 7; ++i) put(3 * kPage + 8 * i, page(8 + i));
    const Command command{.opcode = 1,
                          .nsid = 1,
                          .prp1 = page(6) + 0x800,
                          .prp2 = page(3) - 16,
                          .cdw10 = 5,
                          .cdw12 = 8 * kPage / 512 - 1};
    ASSERT_EQ(run(1, command), 0);
    std::memset(memory.bytes() + 6 * kPage, 0, 10 * kPage);
    Command back = command;
    back.opcode = 2;
    ASSERT_EQ(run(1, back), 0);
    EXPECT_EQ(text(6 * kPage + 0x800, 8 * kPage), data);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);

    // A reset forgets the queues, not the disk.
    ASSERT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceReset, nullptr), 0);
    EXPECT_EQ(bench.get<std::uint32_t>(0x1c), 0U);
    make_queues();
    ASSERT_EQ(run(1, {.opcode = 2, .nsid = 1, .prp1 = page(6), .cdw10 = 5}), 0);
    EXPECT_EQ(text(6 * kPage, 512), data.substr(0, 512));
    ASSERT_EQ(run(1, {.opcode = 8, .nsid = 1, .cdw10 = 5}), 0);
    ASSERT_EQ(run(1, {.opcode = 2, .nsid = 1, .prp1 = page(6), .cdw10 = 5}), 0);
    EXPECT_EQ(text(6 * kPage, 512), std::string(512, '\0'));
}

TEST_F(ModelNvme, AListThatNamesItselfEnds) {
    make_queues();
    put(4 * kPage - 8, page(4) - 8);
    const Command command{.opcode = 2, .nsid = 1, .prp1 = page(6), .prp2 = page(4) - 8, .cdw12 = 1023};
    EXPECT_NE(run(1, command), 0);
}

TEST_F(ModelNvme, WaitsForRoomInTheCompletionQueue) {
    make_queues();
    const Command flush{.opcode = 0, .nsid = 1};
    for (unsigned i = 0; i < 15; ++i) ASSERT_EQ(run(1, flush), 0);
    for (unsigned i = 0; i < 15; ++i) submit(1, flush);
    submit(1, flush);
    Completion answer{};
    unsigned count = 0;
    while (take(1, answer)) ++count;
    EXPECT_EQ(count, 16U) << "none lost, none twice";
}

TEST_F(ModelNvme, InterruptsByMessagesOrByItsLine) {
    make_queues();
    const Event line;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciIntx, 1, line.number()), 0);
    ASSERT_EQ(run(1, {.opcode = 0, .nsid = 1}), 0);
    EXPECT_EQ(line.count(), 1U);
    ASSERT_EQ(bench.irq(kIrqSetDataNone | kIrqSetTrigger, kPciIntx, 0), 0);

    const Event message;
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsix, 1, message.number()), 0);
    ASSERT_EQ(run(1, {.opcode = 0, .nsid = 1}), 0);
    EXPECT_EQ(message.count(), 1U);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, message.number()), -EINVAL) << "there is none";
}

TEST_F(ModelNvme, AQueueThatItCannotReachIsFatal) {
    ASSERT_EQ(enable(0x000f000f, kUnmapped), 1U);
    submit(0, {.opcode = 6, .prp1 = page(2), .cdw10 = 1});
    EXPECT_EQ(bench.get<std::uint32_t>(0x1c) & 2U, 2U);
    EXPECT_EQ(enable(), 1U) << "until it is started again";
}

}  // namespace
}  // namespace iommufd::model::testing
