// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/page_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "dma/reverse_map.hpp"
#include "support/allocation_faults.hpp"

namespace iommufd::dma {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kTarget = 0x7f0000000000;

Range pages(std::uint64_t first, std::uint64_t count) {
    return {Iova{first * kPage}, Iova{(first + count) * kPage - 1}};
}

class PageMapTest : public ::testing::Test {
protected:
    // Where it leads; nothing where it doesn't, or nobody may go.
    std::optional<std::uint64_t> target(std::uint64_t address) const {
        const auto found = map_.find(address);
        if ((found.entry & PageMap::kRights) == 0) return std::nullopt;
        return address + (found.entry & PageMap::kDifference);
    }
    void add(Range range, std::uint64_t to) {
        map_.insert(range, to - range.first.value);
        map_.show(range, 3);
    }

    // No table is left.
    bool is_empty() {
        map_.tidy();
        pool_.give_back(map_.take_unlinked());
        return pool_.out() == 0;
    }

    TablePool pool_;
    PageMap map_{pool_};
};

TEST_F(PageMapTest, LeadsEveryAddressOfARangeAndNoneBesideIt) {
    const Range range = pages(0x4000, 0x801);
    add(range, kTarget);
    EXPECT_EQ(target(range.first.value), kTarget);
    EXPECT_EQ(target(range.first.value + 0x123456), kTarget + 0x123456);
    EXPECT_EQ(target(range.last.value), kTarget + range.length() - 1);
    EXPECT_EQ(target(range.first.value - 1), std::nullopt);
    EXPECT_EQ(target(range.last.value + 1), std::nullopt);
    EXPECT_EQ(target(~std::uint64_t{0}), std::nullopt);
}

TEST_F(PageMapTest, WhatWasInsertedIsSeenWhenItIsShownWithItsRights) {
    const Range range = pages(512, 1024);
    map_.insert(range, kTarget);
    EXPECT_EQ(target(range.first.value), std::nullopt);
    map_.show(range, 1);
    EXPECT_EQ(map_.find(range.last.value).entry & PageMap::kRights, 1U << 1);
}

TEST_F(PageMapTest, TakesTheLargestBlocksThatTheAddressesAllow) {
    add({Iova{1ULL << 30}, Iova{(3ULL << 30) - 1}}, kTarget);
    EXPECT_EQ(map_.find(1ULL << 30).rest, (2ULL << 20) - 1);  // what is below 2^39 has no larger ones
    add({Iova{1ULL << 40}, Iova{(1ULL << 40) + (2ULL << 30) - 1}}, kTarget);
    EXPECT_EQ(map_.find((1ULL << 40) + (1ULL << 30)).rest, (1ULL << 30) - 1);
    EXPECT_EQ(target(1ULL << 30), kTarget);                            // still, with one level more
    add({Iova{2ULL << 20}, Iova{(4ULL << 20) - 1}}, kTarget + kPage);  // whatever the target's alignment
    EXPECT_EQ(map_.find(3ULL << 20).rest, (2ULL << 20) - 1);
    EXPECT_EQ(target(3ULL << 20), kTarget + kPage + (1ULL << 20));
}

TEST_F(PageMapTest, ReachesBothEndsOfTheAddressSpace) {
    const Range lowest = pages(0, 1);
    const Range highest{Iova{~0ULL - 2 * kPage + 1}, Iova{~0ULL}};
    add(lowest, kTarget);
    add(highest, kTarget + 2 * kPage);
    EXPECT_EQ(target(0), kTarget);
    EXPECT_EQ(target(~0ULL), kTarget + 4 * kPage - 1);
    map_.erase(lowest);
    map_.erase(highest);
    EXPECT_TRUE(is_empty());
}

TEST_F(PageMapTest, ABlockIsCutWhereverARangeIsToEnd) {
    const Range range{Iova{0}, Iova{(1ULL << 30) - 1}};
    add(range, kTarget);
    const Range hole = pages(0x12345, 3);
    map_.cut(hole.first.value);
    map_.cut(hole.last.value + 1);
    EXPECT_EQ(target(hole.first.value), kTarget + hole.first.value);
    map_.erase(hole);
    EXPECT_EQ(target(hole.first.value - 1), kTarget + hole.first.value - 1);
    EXPECT_EQ(target(hole.first.value), std::nullopt);
    EXPECT_EQ(target(hole.last.value), std::nullopt);
    EXPECT_EQ(target(hole.last.value + 1), kTarget + hole.last.value + 1);
}

TEST_F(PageMapTest, ATableThatBecomesEmptyStaysUntilAnotherOneDoesAndIsHandedOver) {
    add(pages(5, 1), kTarget);
    add(pages(0x1000, 1), kTarget);
    add(pages(0x2000, 1), kTarget);
    map_.erase(pages(5, 1));
    EXPECT_EQ(map_.take_unlinked(), nullptr);
    add(pages(6, 1), kTarget);
    map_.erase(pages(6, 1));
    EXPECT_EQ(map_.take_unlinked(), nullptr);
    map_.erase(pages(0x2000, 1));
    auto* const unlinked = map_.take_unlinked();
    ASSERT_NE(unlinked, nullptr);
    pool_.give_back(unlinked);
    EXPECT_EQ(target(0x1000 * kPage), kTarget);
}

TEST_F(PageMapTest, WithoutMemoryNothingHasChanged) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    add(pages(0x7ffff, 2), kTarget);
    const Range range{Iova{0x3fff000}, Iova{0x12345678fff}};  // ends of every size
    for (std::uint64_t n = 1;; ++n) {
        bool threw = false;
        {
            const AllocationFaults::Armed armed(n);
            try {
                map_.insert({Iova{0x80001000}, range.last}, kTarget);
            } catch (const std::bad_alloc&) {
                threw = true;
            }
        }
        if (!threw) break;
        EXPECT_EQ(map_.find(0x80001000).entry, PageMap::kHole) << n;
        EXPECT_EQ(map_.find(range.last.value).entry, PageMap::kHole) << n;
        EXPECT_EQ(target(0x7ffff * kPage), kTarget);
    }
    map_.erase({Iova{0x80001000}, range.last});
    map_.erase(pages(0x7ffff, 2));
    EXPECT_TRUE(is_empty());
}

// Against a map of pages: ranges of every size around edges of every level come, are cut, and go.
TEST_F(PageMapTest, AgreesWithAMapOfPages) {
    std::mt19937_64 random(7);
    std::map<std::uint64_t, std::uint64_t> ranges;     // page -> count
    std::map<std::uint64_t, std::uint64_t> reference;  // page -> target
    constexpr std::uint64_t kSizes[] = {1, 2, 3, 511, 512, 513, 1024, 5000};
    constexpr std::uint64_t kEdges[] = {0, 1, 512, 1024, 1 << 18, (1 << 18) + 512, 1 << 27};
    const auto erase = [&](std::uint64_t first, std::uint64_t count) {
        map_.cut(first * kPage);
        map_.cut((first + count) * kPage);
        map_.erase(pages(first, count));
        for (std::uint64_t i = 0; i < count; ++i) reference.erase(first + i);
    };
    for (int round = 0; round < 3000; ++round) {
        const std::uint64_t count = kSizes[random() % std::size(kSizes)];
        const std::uint64_t first = kEdges[random() % std::size(kEdges)] + random() % 3000;
        const auto next = reference.lower_bound(first);
        if (next == reference.end() || next->first >= first + count) {
            const std::uint64_t to = kTarget + (random() % (1 << 20)) * kPage;
            add(pages(first, count), to);
            for (std::uint64_t i = 0; i < count; ++i) reference[first + i] = to + i * kPage;
        } else {
            // A part of what is there, as far as it goes.
            std::uint64_t from = next->first;
            std::uint64_t length = 1;
            while (length < count && reference.contains(from + length)) ++length;
            erase(from, length);
        }
        pool_.give_back(map_.take_unlinked());
        if (round % 50 != 0) continue;
        for (int i = 0; i < 2000; ++i) {
            const std::uint64_t page = kEdges[random() % std::size(kEdges)] + random() % 9000;
            const auto expected = reference.find(page);
            ASSERT_EQ(target(page * kPage),
                      expected == reference.end() ? std::nullopt : std::optional(expected->second))
                << "page " << page << " in round " << round;
        }
    }
    while (!reference.empty()) erase(reference.begin()->first, 1);
    EXPECT_TRUE(is_empty());
}

class ReverseMapTest : public ::testing::Test {
protected:
    void add(std::uint64_t page, std::uint64_t count, std::uint64_t iova_page) {
        map_.insert(page * kPage, pages(iova_page, count));
        map_.show(page * kPage, pages(iova_page, count), true);
    }
    void remove(std::uint64_t page, std::uint64_t count, std::uint64_t iova_page) {
        map_.cut(page * kPage, Iova{iova_page * kPage});
        map_.cut((page + count) * kPage, Iova{(iova_page + count) * kPage});
        map_.erase(page * kPage, pages(iova_page, count));
    }
    std::vector<Iova> find(std::uint64_t page, std::uint64_t count) const {
        std::vector<Iova> iovas;
        map_.find(page * kPage, (page + count) * kPage - 1, iovas);
        return iovas;
    }

    TablePool pool_;
    ReverseMap map_{pool_};
};

TEST_F(ReverseMapTest, MemoryThatIsMappedTwiceHasTwoIovasLowestFirst) {
    add(0x700, 100, 0x4000);
    add(0x720, 10, 0x1000);
    add(0x728, 100, 0x9000);
    EXPECT_THAT(find(0x700, 1), ElementsAre(Iova{0x4000 * kPage}));
    EXPECT_THAT(find(0x729, 1),
                ElementsAre(Iova{0x1009 * kPage}, Iova{0x4029 * kPage}, Iova{0x9001 * kPage}));
    // A piece must be mapped whole, in whichever layers its pages are.
    EXPECT_THAT(find(0x729, 2), ElementsAre(Iova{0x4029 * kPage}, Iova{0x9001 * kPage}));
    EXPECT_THAT(find(0x760, 20), ElementsAre(Iova{0x9038 * kPage}));
    remove(0x700, 100, 0x4000);
    EXPECT_THAT(find(0x729, 1), ElementsAre(Iova{0x1009 * kPage}, Iova{0x9001 * kPage}));
    EXPECT_THAT(find(0x700, 1), IsEmpty());
}

TEST_F(ReverseMapTest, WithoutMemoryNothingHasChanged) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    add(1000, 300, 0x4000);
    for (std::uint64_t n = 1;; ++n) {
        bool threw = false;
        {
            const AllocationFaults::Armed armed(n);
            try {
                map_.insert(900 * kPage, pages(0x8000, 1000));
            } catch (const std::bad_alloc&) {
                threw = true;
            }
        }
        if (!threw) break;
        EXPECT_THAT(find(1000, 300), ElementsAre(Iova{0x4000 * kPage})) << n;
    }
    map_.show(900 * kPage, pages(0x8000, 1000), true);
    EXPECT_THAT(find(1000, 300), ElementsAre(Iova{0x4000 * kPage}, Iova{0x8064 * kPage}));
}

TEST_F(ReverseMapTest, AgreesWithAListOfMappings) {
    struct Mapping {
        std::uint64_t page;
        std::uint64_t count;
        std::uint64_t iova_page;
    };
    std::mt19937_64 random(11);
    std::vector<Mapping> mappings;
    std::uint64_t next_iova = 1;
    for (int round = 0; round < 2000; ++round) {
        if (mappings.size() < 20 || random() % 2 == 0) {
            const std::uint64_t count = 1 + random() % (random() % 4 == 0 ? 2000 : 20);
            mappings.push_back({random() % 4000, count, next_iova += 5000});
            add(mappings.back().page, count, next_iova);
        } else {
            // All, or its second half.
            const std::size_t which = random() % mappings.size();
            Mapping& mapping = mappings[which];
            const std::uint64_t keep = random() % 2 == 0 ? mapping.count / 2 : 0;
            remove(mapping.page + keep, mapping.count - keep, mapping.iova_page + keep);
            mapping.count = keep;
            if (keep == 0) mappings.erase(mappings.begin() + static_cast<std::ptrdiff_t>(which));
        }
        pool_.give_back(map_.take_unlinked());
        for (int i = 0; i < 20; ++i) {
            const std::uint64_t page = random() % 6000;
            const std::uint64_t count = 1 + random() % 30;
            std::vector<Iova> expected;
            for (const Mapping& mapping : mappings)
                if (mapping.page <= page && page + count <= mapping.page + mapping.count)
                    expected.push_back(Iova{(mapping.iova_page + page - mapping.page) * kPage});
            std::sort(expected.begin(), expected.end());
            ASSERT_EQ(find(page, count), expected)
                << "pages " << page << "+" << count << " in round " << round;
        }
    }
}

}  // namespace
}  // namespace iommufd::dma
