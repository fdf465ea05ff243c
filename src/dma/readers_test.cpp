// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/readers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "support/fake_sink.hpp"

namespace iommufd::dma {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr Iova kBase{0x4000000};

class ReadersTest : public ::testing::Test {
protected:
    Space space_ = Space::without_iommufd({.id = "plain"}).value();
};

TEST_F(ReadersTest, UnmapWaitsForAGuardOfAnotherThreadAndTheMemoryStaysUntilThen) {
    Memory memory = Memory::memfd(64_KiB).value();
    const std::weak_ptr<const Memory::Node> node = memory.node();
    std::optional<Mapping> mapping = space_.map(memory, {.iova = kBase}).value();
    memory = Memory::memfd(4096).value();

    std::atomic<bool> entered = false;
    std::atomic<bool> leave = false;
    std::thread reading([&] {
        Reader reader = space_.reader("slow");
        const Guard guard = reader.enter();
        const auto bytes = guard.translate(kBase, 16, Access::write);
        entered = true;
        while (!leave) std::this_thread::yield();
        bytes[0] = std::byte{1};  // faults if the memory has gone
    });
    while (!entered) std::this_thread::yield();
    std::atomic<bool> unmapped = false;
    std::thread unmapping([&] {
        mapping.reset();
        unmapped = true;
    });
    std::this_thread::sleep_for(20ms);
    EXPECT_FALSE(unmapped);
    EXPECT_FALSE(node.expired());
    leave = true;
    reading.join();
    unmapping.join();
    EXPECT_TRUE(node.expired());
}

TEST_F(ReadersTest, ADeadlineEndsTheWaitNamesTheReaderAndTheMemoryGoesLater) {
    Memory memory = Memory::memfd(64_KiB).value();
    const std::weak_ptr<const Memory::Node> node = memory.node();
    space_.map(memory, {.iova = kBase}).value().leave();
    memory = Memory::memfd(4096).value();

    std::atomic<bool> entered = false;
    std::atomic<bool> leave = false;
    std::thread reading([&] {
        Reader reader = space_.reader("slow");
        const Guard guard = reader.enter();
        entered = true;
        while (!leave) std::this_thread::yield();
    });
    while (!entered) std::this_thread::yield();
    const auto unmapped =
        space_.unmap(*Range::of(kBase, 64_KiB), {.deadline = std::chrono::steady_clock::now() + 5ms});
    ASSERT_FALSE(unmapped);
    EXPECT_EQ(unmapped.error().code(), ETIMEDOUT);
    EXPECT_THAT(unmapped.error().line(), HasSubstr("reader 'slow'"));
    EXPECT_TRUE(space_.mappings().empty());
    EXPECT_FALSE(node.expired());
    leave = true;
    reading.join();
    space_.map(memory).value().leave();  // the next call frees it
    EXPECT_TRUE(node.expired());
}

TEST_F(ReadersTest, AGuardSeesWhatComesAndGoesAndKeepsWhatItWasGiven) {
    const Memory memory = Memory::memfd(64_KiB).value();
    Reader reader = space_.reader();
    const Guard guard = reader.enter();
    EXPECT_TRUE(guard.translate(kBase, 1, Access::read).empty());
    space_.map(memory, {.iova = kBase}).value().leave();
    const auto bytes = guard.translate(kBase, 64_KiB, Access::write);
    ASSERT_EQ(bytes.size(), 64_KiB);
    const Guard nested = reader.enter();
    std::thread([&] {
        (void)space_.unmap(*Range::of(kBase, 64_KiB), {.deadline = std::chrono::steady_clock::now()});
    }).join();
    EXPECT_TRUE(nested.translate(kBase, 1, Access::read).empty());
    bytes[0] = std::byte{1};
}

TEST_F(ReadersTest, ARangeThatCrossesMappingsComesInPieces) {
    const Memory first = Memory::memfd(8_KiB).value();
    const Memory second = Memory::memfd(16_KiB).value();
    space_.map(first, {.iova = kBase}).value().leave();
    space_.map(second, {.iova = kBase + 8_KiB, .length = 8_KiB}).value().leave();
    space_.map(second, {.iova = kBase + 16_KiB, .offset = 8_KiB}).value().leave();
    Reader reader = space_.reader();
    const Guard guard = reader.enter();
    std::vector<std::span<std::byte>> pieces;
    EXPECT_TRUE(guard.translate(kBase + 4_KiB, 20_KiB, Access::write, pieces));
    ASSERT_EQ(pieces.size(), 2U);  // two mappings of memory that lies side by side are one piece
    EXPECT_EQ(pieces[0].data(), first.data() + 4_KiB);
    EXPECT_EQ(pieces[0].size(), 4_KiB);
    EXPECT_EQ(pieces[1].data(), second.data());
    EXPECT_EQ(pieces[1].size(), 16_KiB);
    pieces.clear();
    EXPECT_FALSE(guard.translate(kBase + 12_KiB, 64_KiB, Access::write, pieces));
    ASSERT_EQ(pieces.size(), 1U);
    EXPECT_EQ(pieces[0].size(), 12_KiB);
    EXPECT_EQ(guard.iova_of(second.data() + 12_KiB, 4_KiB), kBase + 20_KiB);
    EXPECT_EQ(guard.iova_of(second.data() + 12_KiB, 5_KiB), std::nullopt);
}

TEST_F(ReadersTest, ManyBlocksAtOnceLeadWhereEachOfThemLeads) {
    const Memory memory = Memory::memfd(4_MiB).value();
    for (const std::uint64_t base : {std::uint64_t{0x4000000}, 1024_GiB, std::uint64_t{1} << 50}) {
        space_.map(memory, {.iova = Iova{base}, .length = 2_MiB}).value().leave();
        space_
            .map(memory,
                 {.iova = Iova{base + 2_MiB}, .offset = 2_MiB, .length = 1_MiB, .access = Access::read})
            .value()
            .leave();
        space_.map(memory, {.iova = Iova{base + 3_MiB + 4_KiB}, .length = 4_KiB}).value().leave();
    }
    std::mt19937_64 random(1);
    std::vector<Iova> iovas;
    for (const std::uint64_t base : {std::uint64_t{0x4000000}, 1024_GiB, std::uint64_t{1} << 50})
        for (int i = 0; i < 500; ++i) {
            const std::uint64_t edge = base - 1_MiB + random() % 1536 * 4_KiB;
            iovas.insert(iovas.end(), {Iova{edge + random() % 4_KiB}, Iova{edge - 1 - random() % 4}});
        }
    std::ranges::shuffle(iovas, random);

    Reader reader = space_.reader();
    const Guard guard = reader.enter();
    for (const std::uint64_t length : {std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{512}, 4_KiB, 1_MiB})
        for (const Access access : {Access::read, Access::write, Access::read_write}) {
            std::vector<std::byte*> addresses(iovas.size());
            std::size_t expected = 0;
            const std::size_t translated = guard.translate_each(iovas, length, access, addresses.data());
            for (std::size_t i = 0; i < iovas.size(); ++i) {
                const auto one = guard.translate(iovas[i], length, access);
                std::byte* const whole = one.size() == length ? one.data() : nullptr;
                ASSERT_EQ(addresses[i], whole) << std::hex << iovas[i].value << " of " << length;
                expected += whole != nullptr;
            }
            EXPECT_EQ(translated, expected);
            EXPECT_NE(translated, 0U);
        }
    EXPECT_EQ(guard.translate_each({}, 1, Access::read, nullptr), 0U);
}

TEST_F(ReadersTest, MayOutliveTheSpaceAndSeeWhatTheySawUntilTheirGuardsEnd) {
    Memory memory = Memory::memfd(64_KiB).value();
    const std::weak_ptr<const Memory::Node> node = memory.node();
    std::optional<Space> space = Space::without_iommufd({.id = "short-lived"}).value();
    space->map(memory, {.iova = kBase}).value().leave();
    memory = Memory::memfd(4096).value();
    Reader reader = space->reader();
    {
        const Guard guard = reader.enter();
        const auto bytes = guard.translate(kBase, 16, Access::write);
        ASSERT_EQ(bytes.size(), 16U);
        space.reset();
        bytes[0] = std::byte{1};  // faults if the memory has gone
        EXPECT_FALSE(node.expired());
    }
    EXPECT_TRUE(reader.enter().translate(kBase, 16, Access::read).empty());
}

TEST_F(ReadersTest, ASlotIsReusedAfterItsReaderIsGone) {
    for (int i = 0; i < 100; ++i) {
        Reader reader = space_.reader("short-lived");
        const Guard guard = reader.enter();
    }
    const Memory memory = Memory::memfd(4096).value();
    EXPECT_TRUE(space_.map(memory));
}

// Readers check a pattern that its owner destroys before the memory goes: with a wrong grace period they
// would see it destroyed, or fault.
TEST_F(ReadersTest, NeverSeeMemoryThatHasGone) {
    constexpr std::byte kAlive{0x5a};
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> seen = 0;
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i)
        readers.emplace_back([&] {
            Reader reader = space_.reader("checker");
            while (!stop) {
                const Guard guard = reader.enter();
                const auto bytes = guard.translate(kBase, 4096, Access::read);
                if (bytes.empty()) continue;
                ++seen;
                for (std::size_t at = 0; at < bytes.size(); at += 512) ASSERT_EQ(bytes[at], kAlive);
            }
        });
    const auto end = std::chrono::steady_clock::now() + 300ms;
    while (std::chrono::steady_clock::now() < end || seen == 0) {
        const Memory memory = Memory::memfd(4096).value();
        std::fill_n(memory.data(), 4096, kAlive);
        {
            const Mapping mapping = space_.map(memory, {.iova = kBase}).value();
        }
        std::fill_n(memory.data(), 4096, std::byte{0});  // unmapped: nobody may see this
    }
    stop = true;
    for (std::thread& reader : readers) reader.join();
}

TEST_F(ReadersTest, AGuardThatOutlivesItsReaderKeepsTheSlot) {
    const Memory memory = Memory::memfd(64_KiB).value();
    space_.map(memory, {.iova = kBase}).value().leave();
    std::thread([&] {
        std::optional<Reader> first = space_.reader("first");
        const Guard guard = first->enter();
        first.reset();
        std::thread([&] {
            Reader second = space_.reader("second");
            (void)second.enter();
            const auto unmapped =
                space_.unmap(*Range::of(kBase, 64_KiB), {.deadline = std::chrono::steady_clock::now()});
            EXPECT_EQ(unmapped.error().code(), ETIMEDOUT);
            EXPECT_THAT(unmapped.error().line(), HasSubstr("'first'"));
        }).join();
    }).join();
}

TEST_F(ReadersTest, WhatNoGuardSeesIsFreedThoughAnotherGuardIsYounger) {
    Memory memory = Memory::memfd(64_KiB).value();
    std::weak_ptr<const Memory::Node> nodes[2];
    Reader reader = space_.reader("old");
    Reader young = space_.reader("young");
    const auto map_and_forget = [&](std::weak_ptr<const Memory::Node>& node) {
        memory = Memory::memfd(64_KiB).value();
        node = memory.node();
        space_.map(memory, {.iova = kBase}).value().leave();
        memory = Memory::memfd(4096).value();
    };
    std::optional<Guard> old;
    for (auto& node : nodes) {
        map_and_forget(node);
        if (!old) old.emplace(reader.enter());
        std::thread([&] {
            (void)space_.unmap(*Range::of(kBase, 64_KiB), {.deadline = std::chrono::steady_clock::now()});
        }).join();
    }
    EXPECT_FALSE(nodes[0].expired());
    const Guard last = young.enter();
    old.reset();
    space_.retry_releases();
    EXPECT_TRUE(nodes[0].expired());
    EXPECT_TRUE(nodes[1].expired());
}

}  // namespace
}  // namespace iommufd::dma
