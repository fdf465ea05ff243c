// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/free_ranges.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "support/allocation_faults.hpp"

namespace iommufd::dma {
namespace {

constexpr std::uint64_t kEnd = ~std::uint64_t{0};

Range range(std::uint64_t first, std::uint64_t last) { return {Iova{first}, Iova{last}}; }

TEST(FreeRangesTest, RangesSideBySideBecomeOneAndAHoleMakesTwo) {
    FreeRanges ranges;
    ranges.reserve(4);
    EXPECT_FALSE(ranges.find(Iova{0}, 0));
    ranges.add(range(0x1000, 0x1fff));
    ranges.add(range(0x3000, 0x3fff));
    ranges.add(range(0x2000, 0x2fff));
    EXPECT_EQ(ranges.size(), 1U);
    EXPECT_EQ(ranges.find(Iova{0}, 0x2fff), range(0x1000, 0x3fff));
    EXPECT_FALSE(ranges.find(Iova{0}, 0x3000));
    EXPECT_TRUE(ranges.remove(range(0x1800, 0x27ff)));
    EXPECT_EQ(ranges.size(), 2U);
    EXPECT_EQ(ranges.find(Iova{0}, 0), range(0x1000, 0x17ff));
    EXPECT_EQ(ranges.find(Iova{0x1800}, 0), range(0x2800, 0x3fff));
    EXPECT_FALSE(ranges.remove(range(0x1700, 0x1800))) << "in part only";
    EXPECT_FALSE(ranges.remove(range(0x2000, 0x2000)));
    EXPECT_TRUE(ranges.is_sound());
}

TEST(FreeRangesTest, ReachesBothEndsOfAllAddresses) {
    FreeRanges ranges;
    ranges.reserve(3);
    ranges.add(range(0, kEnd));
    EXPECT_EQ(ranges.find(Iova{0}, kEnd), range(0, kEnd));
    EXPECT_TRUE(ranges.remove(range(kEnd, kEnd)));
    EXPECT_TRUE(ranges.remove(range(0, 0)));
    EXPECT_FALSE(ranges.overlaps(range(kEnd, kEnd)));
    EXPECT_FALSE(ranges.find(Iova{kEnd}, 0));
    EXPECT_EQ(ranges.find(Iova{kEnd - 1}, 0), range(1, kEnd - 1));
    ranges.add(range(kEnd, kEnd));
    ranges.add(range(0, 0));
    EXPECT_EQ(ranges.find(Iova{0}, kEnd), range(0, kEnd));
    EXPECT_TRUE(ranges.remove(range(0, kEnd)));
    EXPECT_EQ(ranges.size(), 0U);
}

// The same by an ordered map, without any cleverness.
class Reference {
public:
    void add(std::uint64_t first, std::uint64_t last) {
        auto after = ranges.lower_bound(first);
        if (after != ranges.end() && after->first == last + 1) {
            last = after->second;
            after = ranges.erase(after);
        }
        if (after != ranges.begin() && std::prev(after)->second + 1 == first)
            std::prev(after)->second = last;
        else
            ranges[first] = last;
    }
    void remove(std::map<std::uint64_t, std::uint64_t>::iterator where, std::uint64_t first,
                std::uint64_t last) {
        const auto [begin, end] = *where;
        ranges.erase(where);
        if (begin < first) ranges[begin] = first - 1;
        if (last < end) ranges[last + 1] = end;
    }
    std::optional<Range> find(std::uint64_t from, std::uint64_t span) const {
        for (const auto& [first, last] : ranges)
            if (last >= from && last - first >= span) return range(first, last);
        return std::nullopt;
    }
    std::map<std::uint64_t, std::uint64_t> ranges;
};

TEST(FreeRangesTest, AgreesWithAnOrderedMapWhileItGrowsAndShrinks) {
    std::mt19937_64 random(1);
    FreeRanges ranges;
    Reference reference;
    std::vector<Range> taken;
    ranges.reserve(1);
    ranges.add(range(0, kEnd));
    reference.add(0, kEnd);
    for (int step = 0; step < 60000; ++step) {
        // Thousands of ranges, and back to few, several times.
        const bool grows = step / 6000 % 2 == 0;
        if (random() % 8 < (grows ? 6 : 2) || taken.empty()) {
            ranges.reserve(taken.size() + 2);
            const std::uint64_t from = random() % (1 << 24);
            const std::uint64_t length = 1 + random() % (1 << (random() % 12));
            const auto found = ranges.find(Iova{from}, length - 1);
            if (step % 8 == 0) ASSERT_EQ(found, reference.find(from, length - 1)) << step;
            if (!found) continue;
            // Its begin, its end, or its middle.
            const std::uint64_t most =
                std::min<std::uint64_t>(found->last - found->first - (length - 1), 1 << 14);
            const std::uint64_t start = random() % 3 == 0   ? 0
                                        : random() % 2 == 0 ? most
                                                            : random() % (most + 1);
            const Range part = *Range::of(found->first + start, length);
            ASSERT_TRUE(ranges.remove(part));
            ASSERT_FALSE(ranges.overlaps(part));
            reference.remove(reference.ranges.find(found->first.value), part.first.value, part.last.value);
            taken.push_back(part);
        } else {
            std::swap(taken[random() % taken.size()], taken.back());
            const Range part = taken.back();
            taken.pop_back();
            ASSERT_FALSE(ranges.remove(part));
            ranges.add(part);
            ASSERT_TRUE(ranges.overlaps(part));
            reference.add(part.first.value, part.last.value);
        }
        ASSERT_EQ(ranges.size(), reference.ranges.size());
        if (step % 1000 == 0) ASSERT_TRUE(ranges.is_sound()) << step;
    }
    for (const Range& part : taken) ranges.add(part);
    EXPECT_EQ(ranges.find(Iova{0}, kEnd), range(0, kEnd));
    EXPECT_TRUE(ranges.is_sound());
}

TEST(FreeRangesTest, WithRoomReservedNothingAllocatesAndWithoutMemoryForItNothingChanges) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    constexpr std::uint64_t kRanges = 5000;
    FreeRanges ranges;
    ranges.add(range(0, kEnd));
    std::uint64_t n = 1;
    for (bool failed = true; failed; ++n) {
        failed = false;
        const AllocationFaults::Armed armed(n);
        try {
            ranges.reserve(kRanges + 1);
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    }
    EXPECT_GT(n, 5U);
    const AllocationFaults::Armed armed(1);
    for (std::uint64_t i = 0; i < kRanges; ++i) ASSERT_TRUE(ranges.remove(range(i * 2, i * 2)));
    for (std::uint64_t i = 0; i < kRanges; ++i) ranges.add(range(i * 2, i * 2));
    EXPECT_EQ(armed.count(), 0U);
    EXPECT_EQ(ranges.size(), 1U);
}

}  // namespace
}  // namespace iommufd::dma
