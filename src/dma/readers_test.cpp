// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/readers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
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

TEST_F(ReadersTest, AGuardSeesOneMomentHoweverLongItLasts) {
    const Memory memory = Memory::memfd(64_KiB).value();
    Reader reader = space_.reader();
    const Guard guard = reader.enter();
    space_.map(memory, {.iova = kBase}).value().leave();
    EXPECT_TRUE(guard.translate(kBase, 1, Access::read).empty());
    const Guard nested = reader.enter();
    EXPECT_TRUE(nested.translate(kBase, 1, Access::read).empty());
    Reader other = space_.reader();
    EXPECT_FALSE(other.enter().translate(kBase, 1, Access::read).empty());
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
        space.reset();
        const auto bytes = guard.translate(kBase, 16, Access::write);
        ASSERT_EQ(bytes.size(), 16U);
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
    std::optional<Reader> first = space_.reader("first");
    const Guard guard = first->enter();
    first.reset();
    space_.map(memory, {.iova = kBase}).value().leave();
    Reader second = space_.reader("second");
    EXPECT_EQ(second.enter().translate(kBase, 16, Access::read).size(), 16U);
    EXPECT_TRUE(guard.translate(kBase, 16, Access::read).empty());
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
