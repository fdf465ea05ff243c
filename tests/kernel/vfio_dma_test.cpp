// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// DMA of VFIO devices that nobody here wrote, on the real kernel: QEMU's edu and NVMe. The same on the model.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include "drivers/edu.hpp"
#include "drivers/nvme.hpp"
#include "iommufd/vfio/features.hpp"
#include "iommufd/vfio/region.hpp"
#include "kernel/vfio_fixture.hpp"

namespace iommufd::kernel_tests {
namespace {

using namespace std::chrono_literals;
using dma::Memory;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using vfio::Device;

using VfioDmaTest = VfioTest;

TEST_F(VfioDmaTest, EduMovesBytesBothWaysAndInterrupts) {
    const Device device = bind(kEdu);
    device.set_dma_bits(drivers::Edu::kKind.dma_bits);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    auto edu = drivers::Edu::start(device).value();
    EXPECT_THAT(edu.identify().value(), HasSubstr("QEMU edu"));
    fill(memory_.bytes().first(64_KiB), 1);
    ASSERT_TRUE(edu.copy(kBase + 1_MiB, kBase, 64_KiB));
    EXPECT_EQ(std::memcmp(memory_.data(), memory_.data() + 1_MiB, 64_KiB), 0);
    EXPECT_EQ(edu.interrupts(), 32U);  // 16 pages, in and out
}

TEST_F(VfioDmaTest, EduCantReachWhatIsNotMappedAnyMore) {
    const Device device = bind(kEdu);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase, .length = 1_MiB}).value();
    auto edu = drivers::Edu::start(device).value();
    auto hole =
        std::optional(space_.map(memory_, {.iova = kBase + 1_MiB, .offset = 1_MiB, .length = 1_MiB}).value());
    fill(memory_.bytes(), 3);
    hole.reset();
    const std::vector<std::byte> before(memory_.bytes().begin(), memory_.bytes().end());
    ASSERT_TRUE(edu.read_memory(kBase, 4_KiB));
    ASSERT_TRUE(edu.write_memory(kBase + 1_MiB, 4_KiB));  // blocked: the memory behind it stays
    EXPECT_EQ(std::memcmp(memory_.data(), before.data(), before.size()), 0);
    ASSERT_TRUE(edu.read_memory(kBase + 1_MiB, 4_KiB));  // blocked: the card gets none of it
    ASSERT_TRUE(edu.write_memory(kBase, 4_KiB));
    EXPECT_NE(std::memcmp(memory_.data(), before.data() + 1_MiB, 4_KiB), 0);
}

TEST_F(VfioDmaTest, EduRefusesAddressesWiderThanItsOwn) {
    const Device device = bind(kEdu);
    const auto attached = space_.attach(device).value();
    auto edu = drivers::Edu::start(device).value();
    EXPECT_EQ(edu.read_memory(Iova{0x10000000}, 4096).error().code(), EINVAL);
}

TEST_F(VfioDmaTest, NvmeIdentifiesWritesReadsAndFlushesWithInterrupts) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const drivers::Window window{.memory = memory_.data(), .iova = kBase, .size = 64_KiB};
    const auto disk = drivers::Nvme::start(device, window).value();
    EXPECT_THAT(disk->identify().value(),
                AnyOf(HasSubstr("serial iommufd, 64 MiB"), HasSubstr("serial model, 64 MiB")));
    const auto out = memory_.bytes().subspan(64_KiB, 1_MiB);
    const auto in = memory_.bytes().subspan(2_MiB, 1_MiB);
    fill(out, 9);
    ASSERT_TRUE(disk->write(8192, kBase + 64_KiB, out.size()));
    ASSERT_TRUE(disk->flush());
    ASSERT_TRUE(disk->read(8192, kBase + 2_MiB, in.size()));
    EXPECT_EQ(std::memcmp(out.data(), in.data(), in.size()), 0);
    EXPECT_GT(disk->interrupts(), 4U);
    EXPECT_EQ(disk->read(64_MiB, kBase, 512).error().code(), ERANGE);
    EXPECT_EQ(disk->read(1, kBase, 512).error().code(), EINVAL);
}

// What the controller says of a blocked DMA is its own affair (QEMU's reports success); the memory shows it.
TEST_F(VfioDmaTest, NvmeCantReachWhatIsNotMappedAnyMoreAndGoesOn) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase, .length = 1_MiB}).value();
    auto hole =
        std::optional(space_.map(memory_, {.iova = kBase + 1_MiB, .offset = 1_MiB, .length = 1_MiB}).value());
    const auto disk =
        drivers::Nvme::start(device, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    fill(memory_.bytes().subspan(64_KiB), 7);
    ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 4_KiB));
    hole.reset();
    const std::vector<std::byte> before(memory_.bytes().begin() + 1_MiB, memory_.bytes().end());
    (void)disk->read(0, kBase + 1_MiB, 4_KiB);
    EXPECT_EQ(std::memcmp(memory_.data() + 1_MiB, before.data(), before.size()), 0);
    EXPECT_TRUE(disk->read(0, kBase + 128_KiB, 4_KiB));
    EXPECT_EQ(std::memcmp(memory_.data() + 64_KiB, memory_.data() + 128_KiB, 4_KiB), 0);
}

TEST_F(VfioDmaTest, TheObjectStaysWhileItIsUsedAndALaterDeviceGetsTheMappingsBack) {
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    for (int round = 0; round < 2; ++round) {
        EXPECT_FALSE(backend_.is_open());
        EXPECT_EQ(pinned(), 0U);
        EXPECT_EQ(mapped.state(), dma::MappingState::planned);
        {
            const Device device = bind(kEdu);
            device.set_dma_bits(drivers::Edu::kKind.dma_bits);
            const auto attached = space_.attach(device).value();
            const auto refused = std::move(backend_).destroy();
            EXPECT_EQ(refused.error().code(), EBUSY);
            EXPECT_THAT(refused.error().line(),
                        AllOf(HasSubstr("vfio-pci 0000:00:10.0"), HasSubstr("dma-space 'dma0'")));
            EXPECT_GE(pinned(), memory_.size());
            auto edu = drivers::Edu::start(device).value();
            fill(memory_.bytes().first(4_KiB), static_cast<unsigned>(round));
            ASSERT_TRUE(edu.copy(kBase + 1_MiB, kBase, 4_KiB));
            EXPECT_EQ(std::memcmp(memory_.data(), memory_.data() + 1_MiB, 4_KiB), 0);
        }
        EXPECT_FALSE(backend_.is_open());
        EXPECT_EQ(pinned(), 0U);
    }
}

// Linux clears such a page when a process touches it first, though a device has written to it by then.
TEST_F(VfioDmaTest, WhatADeviceWritesToPagesThatFallocateMadeIsStillThereWhenAProcessLooks) {
    constexpr std::uint64_t kSize = 64_KiB;
    const int file = ::memfd_create("given", MFD_CLOEXEC);
    ASSERT_EQ(::ftruncate(file, kSize), 0);
    ASSERT_EQ(::posix_fallocate(file, 0, kSize), 0);
    const auto given = dma::Memory::fd(file, kSize, {.label = "given"}).value();
    const Device device = bind(kEdu);
    device.set_dma_bits(drivers::Edu::kKind.dma_bits);
    const auto attached = space_.attach(device).value();
    const auto source = space_.map(memory_, {.iova = kBase}).value();
    const auto target = space_.map(given, {.iova = kBase + 4_MiB}).value();
    const bool maps_files = backend_.capabilities().value().has(Operation::ioas_map_file);
    EXPECT_EQ(space_.counters().mapped_by_file != 0, maps_files);
    auto edu = drivers::Edu::start(device).value();
    fill(memory_.bytes().first(kSize), 3);
    ASSERT_TRUE(edu.copy(kBase + 4_MiB, kBase, kSize));
    void* const another = ::mmap(nullptr, kSize, PROT_READ, MAP_SHARED, file, 0);
    EXPECT_EQ(std::memcmp(another, memory_.data(), kSize), 0) << "in another mapping";
    EXPECT_EQ(std::memcmp(given.data(), memory_.data(), kSize), 0);
    (void)::munmap(another, kSize);
    (void)::close(file);
}

TEST_F(VfioDmaTest, TwoDevicesShareOneSpaceAndOnePageTable) {
    const Device edu_device = bind(kEdu);
    const Device nvme_device = bind(kNvme);
    edu_device.set_dma_bits(28);
    const auto edu_attached = space_.attach(edu_device).value();
    const auto nvme_attached = space_.attach(nvme_device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    auto edu = drivers::Edu::start(edu_device).value();
    const auto disk =
        drivers::Nvme::start(nvme_device, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    fill(memory_.bytes().subspan(64_KiB, 4_KiB), 5);
    ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 4_KiB));
    ASSERT_TRUE(disk->read(0, kBase + 128_KiB, 4_KiB));
    ASSERT_TRUE(edu.copy(kBase + 1_MiB, kBase + 128_KiB, 4_KiB));
    EXPECT_EQ(std::memcmp(memory_.data() + 64_KiB, memory_.data() + 1_MiB, 4_KiB), 0);
    EXPECT_THAT(space_.mappings(), ::testing::SizeIs(1));
    // edu's width holds for the space as long as edu is in it.
    EXPECT_EQ(space_.map(memory_, {.iova = Iova{0x20000000}}).error().code(), EINVAL);
}

TEST_F(VfioDmaTest, WhileOneThreadMapsTwoGigabytesOthersFinishBeforeItDoes) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase, .length = 64_KiB}).value();
    auto large = Memory::memfd(2_GiB, {.label = "large"});
    ASSERT_TRUE(large) << large.error().text();
    std::atomic<bool> done = false;
    std::thread mapping([&] {
        const auto big = space_.map(*large, {.iova = Iova{0x100000000}});
        EXPECT_TRUE(big) << big.error().text();
        done = true;
    });
    while (space_.mappings().size() < 2) std::this_thread::yield();
    unsigned rounds = 0;
    auto reader = space_.reader();
    while (!done && rounds < 50) {
        EXPECT_FALSE(space_.limits().ranges.empty());
        EXPECT_FALSE(reader.enter().translate(kBase, 1, Access::read).empty());
        const auto other = space_.map(memory_, {.offset = 1_MiB, .length = 64_KiB});
        EXPECT_TRUE(other) << other.error().text();
        ++rounds;
    }
    EXPECT_FALSE(done) << "all " << rounds << " rounds finished before the large map did";
    EXPECT_EQ(rounds, 50U);
    mapping.join();
}
TEST_F(VfioDmaTest, NvmeTakesDataThatStartsAnywhereInAPageAndSpansAsManyAsItLikes) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const auto disk =
        drivers::Nvme::start(device, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    std::uint64_t seed = 0;
    for (const std::uint64_t start : {0x0U, 0x4U, 0x200U, 0xffcU})
        for (const std::uint64_t length : {512UL, 4_KiB, 8_KiB, 8_KiB + 512, 520_KiB}) {
            const std::uint64_t from = 64_KiB + start;
            const std::uint64_t to = 2_MiB + start;
            fill(memory_.bytes().subspan(from, length), static_cast<unsigned>(++seed));
            fill(memory_.bytes().subspan(to, length), 0);
            ASSERT_TRUE(disk->write(0, kBase + from, length));
            ASSERT_TRUE(disk->read(0, kBase + to, length));
            ASSERT_EQ(std::memcmp(memory_.data() + from, memory_.data() + to, length), 0)
                << start << " " << length;
        }
    EXPECT_EQ(disk->read(0, kBase + 2, 512).error().code(), EINVAL);
    EXPECT_EQ(disk->read(0, kBase, 0).error().code(), EINVAL);
    EXPECT_EQ(disk->read(~std::uint64_t{0} << 9, kBase, 512).error().code(), ERANGE);
}

TEST_F(VfioDmaTest, NvmeShutsDownAndStartsAgain) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const drivers::Window window{.memory = memory_.data(), .iova = kBase, .size = 64_KiB};
    for (unsigned round = 0; round < 2; ++round) {
        const auto disk = drivers::Nvme::start(device, window).value();
        ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 4_KiB));
        EXPECT_TRUE(disk->stop());
        // Shut down and disabled, as the controller's own registers say.
        const auto bar = device.region(0).value();
        EXPECT_EQ(bar.read<std::uint32_t>(0x14).value() & 1, 0U);
        EXPECT_EQ(bar.read<std::uint32_t>(0x1c).value() & 1, 0U);
        EXPECT_EQ(disk->write(0, kBase + 64_KiB, 4_KiB).error().code(), ESHUTDOWN);
        EXPECT_EQ(disk->flush().error().code(), ESHUTDOWN);
        EXPECT_TRUE(disk->stop());
    }
    EXPECT_EQ(
        drivers::Nvme::start(device, {.memory = memory_.data(), .iova = kBase, .size = 4_KiB}).error().code(),
        EINVAL);
}

TEST_F(VfioDmaTest, TwoSpacesPinTheSameMemoryOnceAndEitherMayEndFirst) {
    const auto other_space = dma::Space::on(backend_, {.id = "dma1"}).value();
    const Device nvme = bind(kNvme);
    const Device card = bind(kEdu);
    card.set_dma_bits(drivers::Edu::kKind.dma_bits);
    const auto in_first = space_.attach(nvme).value();
    const auto in_other = other_space.attach(card).value();
    const auto private_memory = Memory::anonymous(4_MiB, {.label = "private"}).value();
    auto first = std::optional(space_.map(private_memory, {.iova = kBase}, {.threads = 2}).value());
    const std::uint64_t once = pinned();
    EXPECT_GE(once, 4_MiB);
    const auto second =
        other_space.map(private_memory, {.iova = kBase + 16_MiB, .pinned_by = &space_}).value();
    EXPECT_EQ(other_space.counters().mapped_by_copy, 1U);
    EXPECT_EQ(pinned(), once);
    // Mapped for both; and without this the same memory counts twice.
    {
        const auto again = other_space.map(private_memory, {.iova = kBase + 32_MiB}).value();
        EXPECT_EQ(pinned(), once + 4_MiB);
    }
    first.reset();
    EXPECT_EQ(pinned(), once);
    auto edu = drivers::Edu::start(card).value();
    fill(private_memory.bytes().first(4_KiB), 3);
    ASSERT_TRUE(edu.copy(kBase + 16_MiB + 64_KiB, kBase + 16_MiB, 4_KiB));
    EXPECT_EQ(std::memcmp(private_memory.data(), private_memory.data() + 64_KiB, 4_KiB), 0);
}

// edu reads the NVMe controller's capabilities (CAP, at 0 of its BAR) by DMA.
TEST_F(VfioDmaTest, ABarIsReachedByAnotherDeviceUntilItIsRevokedAndAfterItIsMappedAgain) {
    const Device nvme = bind(kNvme);
    ASSERT_TRUE(nvme.enable());
    if (!vfio::has_feature(nvme, vfio::Feature::dma_buf, vfio::FeatureUse::get))
        GTEST_SKIP() << "needs Linux 6.19";
    const std::uint64_t capabilities = nvme.region(0).value().read<std::uint64_t>(0).value();
    ASSERT_NE(capabilities, 0U);

    const Device device = bind(kEdu);
    device.set_dma_bits(drivers::Edu::kKind.dma_bits);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    auto edu = drivers::Edu::start(device).value();
    const auto read_bar = [&]() {
        std::memset(memory_.data(), 0xee, 4_KiB);
        EXPECT_TRUE(edu.read_memory(kBase, 4_KiB));  // the card's buffer: nothing of before
        EXPECT_TRUE(edu.read_memory(kBase + 16_MiB, 8));
        EXPECT_TRUE(edu.write_memory(kBase, 8));
        std::uint64_t found = 0;
        std::memcpy(&found, memory_.data(), sizeof found);
        return found;
    };

    const int buffer = vfio::export_dma_buf(nvme, 0, 0, 4096).value();
    const auto bar = Memory::dma_buf(buffer, 4096, {.label = "bar", .kernel = &kernel_under_test()}).value();
    kernel_under_test().close(buffer);
    auto peer = space_.map(bar, {.iova = kBase + 16_MiB, .access = Access::read}).value();
    EXPECT_EQ(peer.state(), dma::MappingState::mapped);
    EXPECT_EQ(read_bar(), capabilities);

    ASSERT_TRUE(nvme.reset());
    EXPECT_NE(read_bar(), capabilities);  // revoked for good, says the kernel
    ASSERT_TRUE(peer.remap());
    EXPECT_EQ(read_bar(), capabilities);

    // Without memory decoding it can't be mapped, and the rest goes on.
    constexpr std::uint64_t kCommand = 4;
    constexpr std::uint16_t kMemoryDecoding = 2;
    const auto config = nvme.region(7).value();
    const auto command = config.read<std::uint16_t>(kCommand).value();
    ASSERT_TRUE(config.write<std::uint16_t>(kCommand, command & ~kMemoryDecoding));
    const auto refused = peer.remap();
    ASSERT_FALSE(refused);
    EXPECT_EQ(peer.state(), dma::MappingState::unreached);
    EXPECT_TRUE(edu.copy(kBase + 1_MiB, kBase, 4_KiB));
    ASSERT_TRUE(config.write<std::uint16_t>(kCommand, command));
    ASSERT_TRUE(peer.remap());
    EXPECT_EQ(peer.state(), dma::MappingState::mapped);
    EXPECT_EQ(read_bar(), capabilities);
}

// The disk's DMA goes straight into the memory of another card (ivshmem, BAR 2).
TEST_F(VfioDmaTest, ADiskReadsIntoTheMemoryOfAnotherCardAndAgainAfterThatWasReset) {
    if (!is_there(kIvshmem)) GTEST_SKIP() << "the VM has no ivshmem";
    give_to_vfio(kIvshmem);
    const Device card = bind(kIvshmem);
    ASSERT_TRUE(card.enable());
    if (!vfio::has_feature(card, vfio::Feature::dma_buf, vfio::FeatureUse::get))
        GTEST_SKIP() << "needs Linux 6.19";
    const Device nvme = bind(kNvme);
    const auto attached = space_.attach(nvme).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const auto disk =
        drivers::Nvme::start(nvme, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    const auto data = memory_.bytes().subspan(64_KiB, 64_KiB);
    fill(data, 5);
    ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 64_KiB));

    const int buffer = vfio::export_dma_buf(card, 2, 0, 4_MiB).value();
    const auto bar =
        Memory::dma_buf(buffer, 4_MiB, {.label = "card", .kernel = &kernel_under_test()}).value();
    kernel_under_test().close(buffer);
    constexpr Iova kPeer = kBase + 16_MiB;
    auto peer = space_.map(bar, {.iova = kPeer}).value();
    const auto there = card.region(2).value();
    std::vector<std::byte> seen(data.size());
    const auto arrives_at = [&](std::uint64_t offset) {
        const std::vector<std::byte> nothing(data.size());
        EXPECT_TRUE(there.write_bytes(offset, nothing.data(), nothing.size()));
        EXPECT_TRUE(
            disk->read(0, kPeer + offset, data.size()));  // (QEMU's NVMe doesn't tell that DMA was blocked.)
        EXPECT_TRUE(there.read_bytes(offset, seen.data(), seen.size()));
        return std::ranges::equal(seen, data);
    };
    EXPECT_TRUE(arrives_at(0));
    EXPECT_TRUE(arrives_at(4_MiB - data.size()));

    ASSERT_TRUE(card.reset());
    ASSERT_TRUE(card.enable());
    EXPECT_FALSE(arrives_at(1_MiB));  // revoked
    ASSERT_TRUE(peer.remap());
    EXPECT_TRUE(arrives_at(1_MiB));
    EXPECT_TRUE(disk->stop());
}

}  // namespace
}  // namespace iommufd::kernel_tests
