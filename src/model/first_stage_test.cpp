// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// DMA through a guest's table.
#include <gtest/gtest.h>

#include "model/guest_world.hpp"

namespace iommufd::model::testing {
namespace {

using Bits = GuestTables::Bits;

constexpr std::uint64_t kIova = 0x123456000;
constexpr std::uint64_t kPages = GuestBench::kData;
constexpr std::uint64_t kHuge = 2ULL << 20;

TEST(ModelFirstStage, DmaGoesThroughBothTables) {
    GuestBench bench;
    bench.tables.map(kIova, kPages + 3 * kPage);
    ASSERT_TRUE(bench.writes(kPages, kPages)) << "without a table addresses are the guest's physical ones";
    ASSERT_NE(bench.attach_table(), 0U);
    EXPECT_TRUE(bench.writes(kIova + 5, kPages + 3 * kPage + 5));
    EXPECT_FALSE(bench.writes(kPages, kPages));
    EXPECT_TRUE(bench.reads(kIova + 8, kPages + 3 * kPage + 8));
}

TEST(ModelFirstStage, ADmaOverSeveralPagesIsMovedWherePagesAreAndBlockedWhereNot) {
    GuestBench bench;
    for (const std::uint64_t page : {0U, 1U, 3U})
        bench.tables.map(kIova + page * kPage, kPages + (7 - page) * kPage);
    ASSERT_NE(bench.attach_table(), 0U);
    bench.write_memory(kIova + kPage / 2, kPage);
    EXPECT_EQ(*bench.data(kPages + 7 * kPage + kPage - 1), GuestBench::kByte);
    EXPECT_EQ(*bench.data(kPages + 6 * kPage), GuestBench::kByte);
    EXPECT_EQ(*bench.data(kPages + 6 * kPage + kPage / 2), 0);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);

    bench.write_memory(kIova + kPage + 100, kPage);
    bench.read_memory(kIova + kPage + 100, kPage);
    const std::vector<BlockedDma> blocked = bench.machine.blocked_dma();
    ASSERT_EQ(blocked.size(), 2U);
    EXPECT_EQ(blocked[0].iova, kIova + 2 * kPage);
    EXPECT_EQ(blocked[0].length, 100U);
    EXPECT_TRUE(blocked[0].write);
    EXPECT_FALSE(blocked[1].write);
}

TEST(ModelFirstStage, WhatTheParentDoesNotReachIsBlockedAtTheDevicesAddress) {
    GuestBench bench;
    bench.tables.map(kIova, GuestBench::kGuest + GuestBench::kSize);
    bench.tables.map(kIova + (1ULL << 39), kPages);
    bench.tables.entry(kIova + (1ULL << 39), 3) = 0x7000000 | Bits::all;  // a table where no memory is
    ASSERT_NE(bench.attach_table(), 0U);
    bench.write_memory(kIova + 16, 8);
    bench.write_memory(kIova + (1ULL << 39) + 24, 8);
    const std::vector<BlockedDma> blocked = bench.machine.blocked_dma();
    ASSERT_EQ(blocked.size(), 2U);
    EXPECT_EQ(blocked[0].iova, kIova + 16);
    EXPECT_EQ(blocked[0].length, 8U);
    EXPECT_EQ(blocked[1].iova, kIova + (1ULL << 39) + 24);
}

TEST(ModelFirstStage, PermissionsAreThoseOfAllLevelsAndAUsers) {
    GuestBench bench;
    const auto iova = [](std::uint64_t n) { return kIova + (n << 39); };  // no two have a table in common
    for (std::uint64_t n = 0; n < 6; ++n) bench.tables.map(iova(n), kPages);
    bench.tables.entry(iova(1)) = kPages | Bits::present | Bits::user;
    bench.tables.entry(iova(2), 2) &= ~std::uint64_t{Bits::writable};
    bench.tables.entry(iova(3)) &= ~std::uint64_t{Bits::user};
    bench.tables.entry(iova(4), 1) &= ~std::uint64_t{Bits::user};
    bench.tables.entry(iova(5), 3) &= ~std::uint64_t{Bits::present};
    ASSERT_NE(bench.attach_table(), 0U);
    EXPECT_TRUE(bench.writes(iova(0), kPages));
    for (std::uint64_t n = 1; n < 6; ++n) EXPECT_FALSE(bench.writes(iova(n), kPages)) << n;
    EXPECT_EQ(bench.machine.blocked_dma_count(), 5U);
    for (std::uint64_t n = 1; n < 6; ++n) bench.read_memory(iova(n), 8);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 8U) << "1 and 2 may be read";
    bench.tables.map(iova(2) + kPage, kPages);
    EXPECT_FALSE(bench.writes(iova(2) + kPage, kPages))
        << "its lowest table is remembered, and not for writing";
}

TEST(ModelFirstStage, PagesOf2MiBAnd1GiBAreTranslatedAndReservedBitsAreNot) {
    GuestBench bench;
    const auto iova = [](std::uint64_t n) { return n << 39; };
    bench.tables.map(iova(1), kPages, Bits::all, 1);
    bench.tables.map(iova(2), GuestBench::kGuest, Bits::all | 1ULL << 12 | 1ULL << 63,
                     2);  // PAT and XD say nothing to a device
    bench.tables.map(iova(3), kPages, Bits::all | 1ULL << 13, 1);
    bench.tables.map(iova(4), GuestBench::kGuest, Bits::all | 1ULL << 29, 2);
    bench.tables.map(iova(5), 0, Bits::all, 3);
    ASSERT_NE(bench.attach_table(), 0U);
    EXPECT_TRUE(bench.writes(iova(1) + kHuge - 1, kPages + kHuge - 1));
    EXPECT_TRUE(bench.writes(iova(2) + 5 * kHuge + 7, GuestBench::kGuest + 5 * kHuge + 7));
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
    for (std::uint64_t n = 3; n < 5; ++n) bench.read_memory(iova(n), 1);
    bench.read_memory(iova(5) + GuestBench::kGuest, 1);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 3U);
}

TEST(ModelFirstStage, AddressesThatAreNotCanonicalAreBlocked) {
    GuestBench bench;
    bench.tables.map(0xffff800000000000, kPages);
    ASSERT_NE(bench.attach_table(), 0U);
    EXPECT_TRUE(bench.writes(0xffff800000000000, kPages));
    EXPECT_FALSE(bench.writes(0x0000800000000000, kPages));
}

TEST(ModelFirstStage, AccessedAndDirtyBitsAreSetInTheGuestsTable) {
    GuestBench bench;
    bench.tables.map(kIova, kPages);
    bench.tables.map(kIova + kPage, kPages);
    ASSERT_NE(bench.attach_table(), 0U);
    constexpr std::uint64_t kBoth = Bits::accessed | Bits::dirty;
    bench.read_memory(kIova, 8);
    EXPECT_EQ(bench.tables.entry(kIova) & kBoth, std::uint64_t{Bits::accessed});
    for (const unsigned level : {1U, 2U, 3U})
        EXPECT_EQ(bench.tables.entry(kIova, level) & kBoth, std::uint64_t{Bits::accessed});
    EXPECT_EQ(bench.tables.entry(kIova + kPage) & kBoth, 0U);
    bench.write_memory(kIova, 8);
    EXPECT_EQ(bench.tables.entry(kIova) & kBoth, kBoth)
        << "the first write walks again, though it was remembered";
}

TEST(ModelFirstStage, AnEntryIsRememberedUntilItIsInvalidated) {
    GuestBench bench;
    bench.tables.map(kIova, kPages);
    bench.tables.map(kIova + kPage, kPages + kPage);
    const std::uint32_t nested = bench.attach_table();
    ASSERT_TRUE(bench.writes(kIova, kPages));
    ASSERT_TRUE(bench.writes(kIova + kPage, kPages + kPage));
    bench.tables.map(kIova, kPages + 2 * kPage);
    bench.tables.entry(kIova + kPage) = 0;
    EXPECT_TRUE(bench.writes(kIova, kPages)) << "the guest has forgotten to invalidate";
    ASSERT_EQ(bench.invalidate(nested, kIova, 1, uapi::kVtdInvalidateLeaf), 0);
    EXPECT_TRUE(bench.writes(kIova, kPages + 2 * kPage));
    EXPECT_TRUE(bench.writes(kIova + kPage, kPages + kPage)) << "that was another page";
    ASSERT_EQ(bench.invalidate(nested, 0, ~std::uint64_t{0}), 0);
    EXPECT_FALSE(bench.writes(kIova + kPage, kPages + kPage));
}

TEST(ModelFirstStage, WhatWasNotPresentOrNotWritableIsLookedUpAgain) {
    GuestBench bench;
    ASSERT_NE(bench.attach_table(), 0U);
    EXPECT_FALSE(bench.writes(kIova, kPages));
    bench.tables.map(kIova, kPages, Bits::present | Bits::user);
    EXPECT_FALSE(bench.writes(kIova, kPages));
    *bench.data(kPages) = GuestBench::kByte;
    bench.read_memory(kIova, 8);
    bench.tables.entry(kIova) |= Bits::writable;
    EXPECT_TRUE(bench.writes(kIova, kPages));
}

TEST(ModelFirstStage, ATableThatIsReplacedNeedsMoreThanAnInvalidationOfLeaves) {
    GuestBench bench;
    bench.tables.map(kIova, kPages);
    const std::uint32_t nested = bench.attach_table();
    ASSERT_TRUE(bench.writes(kIova, kPages));
    bench.tables.entry(kIova, 1) = 0;
    bench.tables.map(kIova, kPages + kPage);  // in a new lowest table
    ASSERT_EQ(bench.invalidate(nested, kIova, 1, uapi::kVtdInvalidateLeaf), 0);
    EXPECT_TRUE(bench.writes(kIova, kPages));
    ASSERT_EQ(bench.invalidate(nested, kIova, 1), 0);
    EXPECT_TRUE(bench.writes(kIova, kPages + kPage));
}

TEST(ModelFirstStage, AnInvalidationReachesTheAlignedBlockThatHasItsFirstAndLastPage) {
    GuestBench bench;
    constexpr std::uint64_t kBlock = 0x100000000;
    for (std::uint64_t page = 0; page < 6; ++page) bench.tables.map(kBlock + page * kPage, kPages);
    const std::uint32_t nested = bench.attach_table();
    const auto stale_after = [&](std::uint64_t first, std::uint64_t pages) {
        EXPECT_EQ(bench.invalidate(nested, 0, ~std::uint64_t{0}), 0);
        for (std::uint64_t page = 0; page < 6; ++page) bench.tables.map(kBlock + page * kPage, kPages);
        for (std::uint64_t page = 0; page < 6; ++page) bench.write_memory(kBlock + page * kPage, 1);
        for (std::uint64_t page = 0; page < 6; ++page)
            bench.tables.map(kBlock + page * kPage, kPages + kPage);
        EXPECT_EQ(bench.invalidate(nested, kBlock + first * kPage, pages), 0);
        std::string stale;
        for (std::uint64_t page = 0; page < 6; ++page)
            if (bench.writes(kBlock + page * kPage, kPages)) stale += static_cast<char>('0' + page);
        return stale;
    };
    EXPECT_EQ(stale_after(2, 1), "01345");
    EXPECT_EQ(stale_after(2, 2), "0145");
    EXPECT_EQ(stale_after(1, 2), "45") << "pages 0 to 3 are the smallest block that has both";
    EXPECT_EQ(stale_after(1, 0), "2345") << "no page is the one before, and this";
    EXPECT_EQ(stale_after(0, 1ULL << 52), "") << "more than there are";
}

TEST(ModelFirstStage, WhatTheParentUnmapsIsGoneAndFlushesWhatWasRemembered) {
    GuestBench bench;
    bench.tables.map(kIova, kPages);
    ASSERT_NE(bench.attach_table(), 0U);
    ASSERT_TRUE(bench.writes(kIova, kPages));
    bench.tables.map(kIova, kPages + kPage);
    const Memory spare(kPage);
    ASSERT_EQ(bench.map(bench.guest, spare.address(), kPage, 0x1000), 0);
    EXPECT_TRUE(bench.writes(kIova, kPages)) << "a map flushes nothing";
    ASSERT_EQ(bench.unmap(bench.guest, 0x1000, kPage), static_cast<std::int64_t>(kPage));
    EXPECT_TRUE(bench.writes(kIova, kPages + kPage));

    ASSERT_EQ(bench.unmap(bench.guest, GuestBench::kGuest, GuestBench::kSize),
              static_cast<std::int64_t>(GuestBench::kSize));
    EXPECT_FALSE(bench.writes(kIova, kPages + kPage));
    EXPECT_EQ(bench.machine.blocked_dma().back().iova, kIova);
}

TEST(ModelFirstStage, LeavingATableForgetsIt) {
    GuestBench bench;
    bench.tables.map(kIova, kPages);
    const std::uint32_t nested = bench.attach_table();
    ASSERT_TRUE(bench.writes(kIova, kPages));
    ASSERT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_FALSE(bench.writes(kIova, kPages));
    bench.tables.map(kIova, kPages + kPage);
    ASSERT_EQ(bench.attach(bench.cdev, nested), static_cast<std::int64_t>(nested));
    EXPECT_TRUE(bench.writes(kIova, kPages + kPage));
    // Replaced by a table that is refused, it stays.
    uapi::HwptVtdS1 wrong = bench.table();
    wrong.addr_width = 57;
    EXPECT_EQ(bench.attach(bench.cdev, static_cast<std::uint32_t>(bench.nest(wrong))), -EINVAL);
    EXPECT_TRUE(bench.writes(kIova, kPages + kPage));
    ASSERT_EQ(bench.attach(bench.cdev, bench.parent), static_cast<std::int64_t>(bench.parent));
    EXPECT_TRUE(bench.writes(kPages, kPages));
}

TEST(ModelFirstStage, TablesThatTheProgramUnmapsOrSealsBlockTheDmaAndNothingElse) {
    GuestBench bench;
    const std::uint64_t other = kIova + (1ULL << 30);
    bench.tables.map(kIova, kPages);
    bench.tables.map(other, kPages + kPage);
    const std::uint32_t nested = bench.attach_table();
    ASSERT_TRUE(bench.writes(kIova, kPages));
    ASSERT_EQ(::mprotect(bench.memory.bytes(), kHuge, PROT_READ), 0);
    EXPECT_FALSE(bench.writes(other, kPages + kPage)) << "its accessed bits can't be set";
    EXPECT_TRUE(bench.writes(kIova, kPages)) << "these are";
    ASSERT_EQ(bench.invalidate(nested, 0, ~std::uint64_t{0}), 0);
    ASSERT_EQ(::munmap(bench.memory.bytes(), kHuge), 0);
    EXPECT_FALSE(bench.writes(kIova, kPages));
    EXPECT_EQ(bench.machine.blocked_dma_count(), 2U);
}

}  // namespace
}  // namespace iommufd::model::testing
