// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/domain.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

struct Blocked {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    OnBlocked record() {
        return [this](std::uint64_t iova, std::uint64_t length) { ranges.emplace_back(iova, length); };
    }
};

TEST(ModelDomain, ReachesMemoryAcrossPagesAndLevels) {
    Domain domain(Geometry{});
    const Memory memory(8 * kPage);
    // Four pages on each side of the border of a gigabyte.
    constexpr std::uint64_t kStart = (1ULL << 30) - 4 * kPage;
    ASSERT_EQ(domain.map(kStart, 8 * kPage, memory.address(), kReadable | kWritable, kAnyLeaf), 0);
    Blocked blocked;
    std::array<std::byte, 3 * kPage> pattern;
    pattern.fill(std::byte{0x3c});
    domain.write(kStart + 3 * kPage - 100, pattern, blocked.record());
    EXPECT_EQ(memory.bytes()[3 * kPage - 101], 0);
    EXPECT_EQ(memory.bytes()[3 * kPage - 100], 0x3c);
    EXPECT_EQ(memory.bytes()[6 * kPage - 101], 0x3c);
    EXPECT_EQ(memory.bytes()[6 * kPage - 100], 0);
    std::array<std::byte, 3 * kPage> found{};
    domain.read(kStart + 3 * kPage - 100, found, blocked.record());
    EXPECT_EQ(found, pattern);
    EXPECT_TRUE(blocked.ranges.empty());
}

TEST(ModelDomain, PermissionsAreThoseOfTheMap) {
    Domain domain(Geometry{});
    const Memory memory(2 * kPage);
    memory.fill(7);
    ASSERT_EQ(domain.map(0x1000, kPage, memory.address(), kReadable, kAnyLeaf), 0);
    ASSERT_EQ(domain.map(0x2000, kPage, memory.address() + kPage, kWritable, kAnyLeaf), 0);
    Blocked blocked;
    std::array<std::byte, 2 * kPage> bytes;
    bytes.fill(std::byte{9});
    domain.read(0x1000, bytes, blocked.record());
    EXPECT_EQ(bytes[kPage - 1], std::byte{7});
    EXPECT_EQ(bytes[kPage], std::byte{0}) << "what can't be read is zero";
    bytes.fill(std::byte{9});
    domain.write(0x1000, bytes, blocked.record());
    EXPECT_EQ(memory.bytes()[kPage - 1], 7);
    EXPECT_EQ(memory.bytes()[kPage], 9);
    ASSERT_EQ(blocked.ranges.size(), 2U);
    EXPECT_EQ(blocked.ranges[0], std::pair(0x2000UL, kPage));
    EXPECT_EQ(blocked.ranges[1], std::pair(0x1000UL, kPage));
}

TEST(ModelDomain, UnmapTakesLargePagesAwayAndLeavesTheNeighbours) {
    Domain domain(Geometry{});
    constexpr std::uint64_t kLarge = 2ULL << 20;
    const Memory memory(3 * kLarge);
    const std::uint64_t aligned = (memory.address() + kLarge - 1) / kLarge * kLarge;
    ASSERT_EQ(domain.map(kLarge, kLarge, aligned, kReadable | kWritable, kAnyLeaf), 0);
    ASSERT_EQ(domain.map(2 * kLarge, kPage, aligned, kReadable | kWritable, kAnyLeaf), 0);
    domain.unmap(kLarge, kLarge);
    Blocked blocked;
    std::array<std::byte, 2 * kPage> bytes{};
    domain.read(2 * kLarge - kPage, bytes, blocked.record());
    ASSERT_EQ(blocked.ranges.size(), 1U);
    EXPECT_EQ(blocked.ranges[0], std::pair(2 * kLarge - kPage, kPage));
    ASSERT_EQ(domain.map(kLarge, kPage, aligned, kReadable, kAnyLeaf), 0)
        << "it can be mapped again, smaller";
    domain.read(kLarge, std::span(bytes).first(kPage), blocked.record());
    EXPECT_EQ(blocked.ranges.size(), 1U);
}

// With and without a look at the tables, in both ways that a device's DMA goes.
bool reads_at(const Domain& domain, std::uint64_t iova, std::byte expected) {
    std::byte byte{};
    Blocked blocked;
    domain.read(iova, std::span(&byte, 1), blocked.record());
    const bool reached = blocked.ranges.empty() && byte == expected;
    std::byte at_once{};
    const bool lately = domain.read_at_once(iova, std::span(&at_once, 1));
    EXPECT_TRUE(!lately || (reached && at_once == expected));
    return reached;
}

TEST(ModelDomain, WhatWasReachedLatelyIsNotReachedAfterItsUnmapAndAllElseStillIs) {
    constexpr std::uint64_t kLarge = 2ULL << 20;
    constexpr std::uint64_t kHuge = 1ULL << 30;
    const Memory memory(4 * kLarge);
    memory.fill(7);
    const std::uint64_t aligned = (memory.address() + kLarge - 1) / kLarge * kLarge;
    std::memset(reinterpret_cast<void*>(aligned + kLarge), 8, kLarge);
    Domain domain(Geometry{});
    // Large leaves that may be remembered in the same place, in each distance that there is; small ones beside them.
    for (const std::uint64_t distance : {kLarge, 16 * kLarge, 128 * kLarge, kHuge, 16 * kHuge}) {
        const std::uint64_t other = kHuge + distance;
        const std::uint64_t small = other + kLarge;
        ASSERT_EQ(domain.map(kHuge, kLarge, aligned, kReadable, kAnyLeaf), 0);
        ASSERT_EQ(domain.map(other, kLarge, aligned + kLarge, kReadable, kAnyLeaf), 0);
        ASSERT_EQ(domain.map(small, kPage, aligned, kReadable, kAnyLeaf), 0);
        for (int round = 0; round < 2; ++round)
            for (const std::uint64_t offset : {std::uint64_t{0}, 5 * kPage, kLarge - 1}) {
                EXPECT_TRUE(reads_at(domain, kHuge + offset, std::byte{7}));
                EXPECT_TRUE(reads_at(domain, other + offset, std::byte{8}));
                EXPECT_TRUE(reads_at(domain, small + offset % kPage, std::byte{7}));
            }
        domain.unmap(other, kLarge);
        EXPECT_FALSE(reads_at(domain, other + 5 * kPage, std::byte{8}));
        EXPECT_TRUE(reads_at(domain, kHuge + 5 * kPage, std::byte{7}));
        EXPECT_TRUE(reads_at(domain, small, std::byte{7}));
        domain.unmap(small, kPage);
        domain.unmap(kHuge, kLarge);
        EXPECT_FALSE(reads_at(domain, small, std::byte{7}));
        EXPECT_FALSE(reads_at(domain, kHuge + kLarge - 1, std::byte{7}));
    }
    // A leaf of 1 GiB is remembered for each part of it that was asked for; the memory behind it isn't touched.
    ASSERT_EQ(domain.map(kHuge, kHuge, kHuge, kReadable, kAnyLeaf), 0);
    for (std::uint64_t at = kHuge; at < 2 * kHuge; at += 64 * kLarge)
        EXPECT_FALSE(domain.first_missing(at, 1, kReadable));
    domain.unmap(kHuge, kHuge);
    for (std::uint64_t at = kHuge; at < 2 * kHuge; at += 64 * kLarge)
        EXPECT_EQ(domain.first_missing(at, 1, kReadable), at);
}

TEST(ModelDomain, TheLastPageOfTheApertureIsReachedAndNothingBeyond) {
    for (const std::uint64_t last : {0xffffffffffffULL, 0x7fffffffffULL, ~0ULL}) {
        Domain domain(Geometry{.last = last});
        const Memory memory(kPage);
        memory.fill(5);
        ASSERT_EQ(domain.map(last - kPage + 1, kPage, memory.address(), kReadable, kAnyLeaf), 0);
        Blocked blocked;
        std::array<std::byte, kPage> bytes{};
        domain.read(last - kPage + 1, bytes, blocked.record());
        EXPECT_EQ(bytes[kPage - 1], std::byte{5});
        EXPECT_TRUE(blocked.ranges.empty());
        if (last == ~0ULL) continue;
        domain.read(last + 1, bytes, blocked.record());
        EXPECT_EQ(bytes[0], std::byte{0});
        EXPECT_EQ(blocked.ranges.size(), 1U);
        std::array<std::byte, 2 * kPage> across{};
        domain.read(last - kPage + 1, across, blocked.record());
        EXPECT_EQ(across[kPage - 1], std::byte{5});
        EXPECT_EQ(across[kPage], std::byte{0});
        ASSERT_EQ(blocked.ranges.size(), 2U);
        EXPECT_EQ(blocked.ranges[1], std::pair(last + 1, kPage));
    }
}

}  // namespace
}  // namespace iommufd::model::testing
