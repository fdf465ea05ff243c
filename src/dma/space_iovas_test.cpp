// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <random>
#include <set>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "support/allocation_faults.hpp"
#include "support/fake_sink.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using ::testing::HasSubstr;

constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kPage = 4096;

Range range(Iova first, std::uint64_t length) { return *Range::of(first, length); }

class SpaceIovasTest : public ::testing::Test {
protected:
    std::shared_ptr<FakeSink> sink(std::uint64_t first, std::uint64_t last, std::uint64_t alignment = kPage) {
        return std::shared_ptr<FakeSink>(
            new FakeSink("small", {.ranges = {{Iova{first}, Iova{last}}}, .alignment = alignment}));
    }
    std::vector<Error> reported_;
    Space space_ = Space::without_iommufd({.id = "dma0"}, [this](const Notice& notice) {
                       reported_.push_back(notice.error);
                   }).value();
    Memory memory_ = Memory::memfd(1_MiB, {.label = "ram"}).value();
};

TEST_F(SpaceIovasTest, MapNeitherChoosesNorAcceptsWhatIsReservedAndNamesIt) {
    auto window = std::optional(space_.reserve(range(Iova{0x1000}, 2_MiB), "msi").value());
    EXPECT_EQ(space_.map(memory_).value().iova(), Iova{0x201000});
    const auto refused = space_.map(memory_, {.iova = Iova{0x200000}, .length = 2 * kPage});
    ASSERT_EQ(refused.error().code(), EEXIST);
    EXPECT_THAT(refused.error().text(), HasSubstr("it overlaps 0x1000+0x200000, reserved as 'msi'"));
    EXPECT_EQ(space_.reserve(range(Iova{0x2000}, kPage)).error().code(), EEXIST);
    window.reset();
    EXPECT_EQ(space_.map(memory_).value().iova(), Iova{0x1000});
}

TEST_F(SpaceIovasTest, WhatIsMappedCannotBeReserved) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    const auto refused = space_.reserve(range(kBase - kPage, 2 * kPage));
    ASSERT_EQ(refused.error().code(), EEXIST);
    EXPECT_THAT(refused.error().text(), HasSubstr("it overlaps 0x4000000+0x100000 ('ram')"));
    EXPECT_TRUE(space_.reserve(range(kBase - kPage, kPage)));
}

TEST_F(SpaceIovasTest, AReservationIsChosenAsAMappingIsAndWithItsOwnWishes) {
    const auto attached = space_.attach(sink(0x10000, 0xffffffff, 64_KiB)).value();
    const Reservation first = space_.reserve(1).value();
    EXPECT_EQ(first.range(), range(Iova{0x10000}, 64_KiB));
    const Reservation second = space_.reserve(64_KiB, {.alignment = 1_MiB}).value();
    EXPECT_EQ(second.iova(), Iova{1_MiB});
    const auto* const address = reinterpret_cast<const void*>(0x7f0000340000);
    const Reservation third = space_.reserve(2_MiB, {.address = address}).value();
    EXPECT_EQ(third.iova().value % 2_MiB, 0x140000U);
    EXPECT_EQ(space_.reserve(64_KiB, {.last = Iova{0x1ffff}}).error().code(), ENOSPC);
    EXPECT_EQ(space_.reserve(64_KiB, {.last = Iova{0x2ffff}}).value().iova(), Iova{0x20000});
    EXPECT_EQ(space_.reserve(~0ULL).error().code(), ENOSPC);
    EXPECT_EQ(space_.reserve(0).error().code(), EINVAL);
    EXPECT_EQ(space_.reserve(1, {.alignment = 3 * kPage}).error().code(), EINVAL);
}

TEST_F(SpaceIovasTest, WithinAReservationItsHolderMapsAndNobodyElse) {
    Space other = Space::without_iommufd({.id = "dma1"}).value();
    const Reservation window = space_.reserve(range(kBase, 2_MiB), "rings").value();
    const Mapping mapping = space_.map(memory_, {.iova = kBase + 1_MiB, .within = window}).value();
    EXPECT_EQ(space_.map(memory_, {.iova = kBase + 1_MiB, .within = window}).error().code(), EEXIST);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase + 1_MiB + kPage, .within = window}).error().code(), EEXIST);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase}).error().code(), EEXIST);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase - kPage, .within = window}).error().code(), EINVAL);
    EXPECT_EQ(space_.map(memory_, {.within = window}).error().code(), EINVAL);
    EXPECT_EQ(other.map(memory_, {.iova = kBase, .within = window}).error().code(), EINVAL);
    EXPECT_TRUE(space_.map(memory_, {.iova = kBase, .within = window}));
    EXPECT_EQ(space_.map(memory_, {.iova = kBase}).error().code(), EEXIST) << "unmapped, and still reserved";
}

TEST_F(SpaceIovasTest, WhatIsMappedInAReservationThatGoesKeepsItsIovasAndTheRestIsFree) {
    auto window = std::optional(space_.reserve(range(Iova{0x1000}, 1_MiB + 2 * kPage)).value());
    auto mapping = std::optional(
        space_.map(memory_, {.iova = Iova{0x2000}, .granule = kPage, .within = *window}).value());
    window.reset();
    EXPECT_EQ(space_.reserve(range(Iova{0x1000}, 1_MiB + 2 * kPage)).error().code(), EEXIST);
    EXPECT_TRUE(space_.reserve(range(Iova{0x1000}, kPage)));
    EXPECT_TRUE(space_.reserve(range(Iova{0x102000}, kPage)));
    std::move(*mapping).leave();
    // A piece out of its middle, then the rest.
    ASSERT_TRUE(space_.unmap(range(Iova{0x3000}, kPage)));
    EXPECT_EQ(space_.reserve(kPage, {.last = Iova{0x101fff}}).value().iova(), Iova{0x3000});
    EXPECT_TRUE(space_.reserve(range(Iova{0x3000}, kPage)));
    EXPECT_FALSE(space_.reserve(range(Iova{0x4000}, kPage)));
    ASSERT_TRUE(space_.unmap(range(Iova{0x1000}, 2_MiB)));
    EXPECT_TRUE(space_.reserve(range(Iova{0x1000}, 1_MiB + 2 * kPage)));
}

TEST_F(SpaceIovasTest, AGuardKeepsOthersAwayFromAChosenRangeOnBothSides) {
    const Mapping first = space_.map(memory_, {.length = kPage, .guard = 2 * kPage}).value();
    EXPECT_EQ(first.range(), range(Iova{0x2000}, kPage));
    const Mapping second = space_.map(memory_, {.length = kPage}).value();
    EXPECT_EQ(second.iova(), Iova{0x5000});
    const auto refused = space_.map(memory_, {.iova = Iova{0x3000}, .length = kPage});
    ASSERT_EQ(refused.error().code(), EEXIST);
    EXPECT_THAT(refused.error().text(), HasSubstr("it overlaps the guard of 0x2000+0x1000 ('ram')"));
    EXPECT_EQ(space_.map(memory_, {.iova = kBase, .guard = kPage}).error().code(), EINVAL);
    EXPECT_EQ(space_.map(memory_, {.length = kPage, .guard = ~0ULL}).error().code(), ENOSPC);
    EXPECT_EQ(space_.map(memory_, {.length = kPage, .guard = 1}).value().iova(), Iova{0x7000})
        << "a whole page";
}

TEST_F(SpaceIovasTest, AGuardGoesWithTheEndThatItIsAt) {
    auto mapping =
        std::optional(space_.map(memory_, {.length = 4 * kPage, .granule = kPage, .guard = kPage}).value());
    ASSERT_EQ(mapping->iova(), Iova{0x1000});
    std::move(*mapping).leave();
    ASSERT_TRUE(space_.unmap(range(Iova{0x2000}, 2 * kPage)));
    EXPECT_TRUE(space_.reserve(range(Iova{0x2000}, 2 * kPage)));
    EXPECT_FALSE(space_.reserve(range(Iova{0x5000}, kPage)));
    ASSERT_TRUE(space_.unmap(range(Iova{0x4000}, kPage)));
    EXPECT_TRUE(space_.reserve(range(Iova{0x2000}, 4 * kPage)));
    EXPECT_FALSE(space_.reserve(range(Iova{0x0}, kPage)));
    ASSERT_TRUE(space_.unmap(range(Iova{0x1000}, kPage)));
    EXPECT_TRUE(space_.reserve(range(Iova{0x0}, 6 * kPage)));
}

TEST_F(SpaceIovasTest, WhatWasMappedBeforeTheFirstChoiceIsTaken) {
    const Mapping low = space_.map(memory_, {.iova = Iova{0x1000}}).value();
    EXPECT_EQ(space_.map(memory_, {.length = kPage}).value().iova(), Iova{0x101000});
    const Mapping high = space_.map(memory_, {.iova = Iova{0x101000}}).value();
    EXPECT_EQ(space_.map(memory_, {.length = kPage}).value().iova(), Iova{0x201000});
}

TEST_F(SpaceIovasTest, ACacheGivesOutWhatNobodyElseHasUntilItIsFreed) {
    auto cache = space_.iova_cache().value();
    std::set<std::uint64_t> pages;
    std::vector<Range> ranges;
    for (std::uint64_t i = 0; i < 2000; ++i) {
        const auto got = cache.alloc(kPage * (1 + i % 40));
        ASSERT_TRUE(got);
        ASSERT_GE(got->length(), kPage * (1 + i % 40));
        if (got->length() <= 32 * kPage) ASSERT_EQ(got->first.value % got->length(), 0U);
        for (std::uint64_t at = got->first.value; at < got->last.value; at += kPage)
            ASSERT_TRUE(pages.insert(at).second);
        ranges.push_back(*got);
        const Mapping chosen = space_.map(memory_, {.length = kPage}).value();
        ASSERT_FALSE(pages.contains(chosen.iova().value));
    }
    EXPECT_FALSE(pages.contains(0));
    for (const Range& got : ranges) cache.free(got);
    EXPECT_EQ(cache.alloc(32 * kPage), ranges[1991]) << "the last one of that size";
    EXPECT_FALSE(cache.alloc(0));
    EXPECT_FALSE(cache.alloc(~0ULL));
    EXPECT_TRUE(reported_.empty());
}

TEST_F(SpaceIovasTest, WhatACacheGaveOutIsMappedWithIt) {
    auto cache = space_.iova_cache().value();
    const Range got = *cache.alloc(2 * kPage);
    EXPECT_THAT(space_.map(memory_, {.iova = got.first, .length = kPage}).error().text(),
                HasSubstr("IovaCache gave out"));
    EXPECT_EQ(space_.map(memory_, {.iova = kBase, .length = kPage, .within = cache}).error().code(), EINVAL);
    {
        const Mapping mapping =
            space_.map(memory_, {.iova = got.first, .length = 2 * kPage, .within = cache}).value();
        // Freed while it is mapped: at the latest when it would go to the space.
        space_.iova_cache().value().free(got);
        ASSERT_EQ(reported_.size(), 1U);
        EXPECT_THAT(reported_[0].text(), HasSubstr("something is mapped there"));
    }
    EXPECT_FALSE(space_.map(memory_, {.iova = got.first, .length = kPage})) << "still the caller's";
    space_.iova_cache().value().free(got);
    EXPECT_TRUE(space_.map(memory_, {.iova = got.first, .length = kPage}));
    space_.iova_cache().value().free(range(kBase, kPage));
    EXPECT_EQ(reported_.size(), 2U);
}

TEST_F(SpaceIovasTest, WhatCachesHoldIdleIsInNobodysWay) {
    const auto attached = space_.attach(sink(0x1000, 0x40fff)).value();  // 64 pages
    auto first = space_.iova_cache().value();
    auto second = space_.iova_cache().value();
    const Range a = *first.alloc(kPage);
    const Range b = *second.alloc(kPage);
    // 62 of 64 are idle in the two, and all can be had.
    std::vector<Range> ranges;
    while (const auto got = first.alloc(kPage)) ranges.push_back(*got);
    EXPECT_EQ(ranges.size(), 62U);
    for (const Range& got : ranges) first.free(got);
    EXPECT_TRUE(space_.map(memory_, {.length = 16 * kPage}));
    EXPECT_TRUE(space_.map(memory_, {.iova = ranges[0].first, .length = kPage}));
    first.free(a);
    second.free(b);
    EXPECT_TRUE(space_.reserve(range(Iova{0x1000}, 64 * kPage)));
}

TEST_F(SpaceIovasTest, AfterAnAttachACacheGivesOutOnlyWhatTheNewcomerReaches) {
    auto cache = space_.iova_cache().value();
    std::vector<Range> low;
    for (int i = 0; i < 300; ++i) low.push_back(*cache.alloc(kPage));
    // Some of them idle in the cache, some at the depot, some still with us.
    for (int i = 0; i < 250; ++i) cache.free(low[static_cast<std::size_t>(i)]);
    {
        const auto attached = space_.attach(sink(2_MiB, 4_MiB - 1)).value();
        for (int i = 250; i < 300; ++i) cache.free(low[static_cast<std::size_t>(i)]);
        for (int i = 0; i < 400; ++i) {
            const auto got = cache.alloc(kPage);
            ASSERT_TRUE(got && range(Iova{2_MiB}, 2_MiB).contains(*got));
            if (i % 2 == 0) cache.free(*got);
        }
    }
    EXPECT_TRUE(space_.reserve(range(Iova{0}, 2_MiB))) << "what was freed meanwhile is nobody's";
    const auto wide = space_.attach(sink(0, 4_MiB - 1, 64_KiB)).value();
    EXPECT_EQ(cache.alloc(kPage)->length(), 64_KiB);
}

TEST_F(SpaceIovasTest, ACacheMayOutliveItsSpaceAndGivesBackWhatItHolds) {
    auto whole = std::optional(space_.iova_cache().value());
    const Range got = *whole->alloc(kPage);
    whole->free(got);
    whole.reset();
    EXPECT_TRUE(space_.reserve(range(Iova{0}, 1_GiB)));
    auto space = std::optional(Space::without_iommufd({}).value());
    auto cache = space->iova_cache().value();
    space.reset();
    cache.free(*cache.alloc(kPage));
}

TEST_F(SpaceIovasTest, CachesOfManyThreadsNeverGiveOutTheSameTwice) {
    constexpr std::uint64_t kPages = 1 << 16;
    std::vector<std::atomic<bool>> owned(kPages);
    std::atomic<bool> twice = false;
    std::atomic<int> running = 4;
    const auto own = [&](Range got, bool now) {
        for (std::uint64_t at = got.first.value / kPage; at <= got.last.value / kPage; ++at)
            if (at >= kPages || owned[at].exchange(now) == now) twice = true;
    };
    // What one thread allocates another one frees.
    std::vector<std::atomic<std::uint64_t>> exchange(64);
    const auto work = [&](unsigned seed) {
        std::mt19937_64 random(seed);
        auto cache = space_.iova_cache().value();
        for (int i = 0; i < 20000; ++i) {
            std::uint64_t next = 0;
            if (const auto got = cache.alloc(kPage << (random() % 6))) {
                own(*got, true);
                next = got->first.value | static_cast<std::uint64_t>(got->length() / kPage);
            }
            if (const std::uint64_t old = exchange[random() % 64].exchange(next)) {
                const Range before = range(Iova{old & ~(kPage - 1)}, (old & (kPage - 1)) * kPage);
                own(before, false);
                cache.free(before);
            }
            // Now and then by a new one, as when a thread ends.
            if (i % 4000 == 3999) cache = space_.iova_cache().value();
        }
        --running;
    };
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
    while (running > 0) {
        const auto attached = space_.attach(sink(0, kPages * kPage - 1)).value();
        if (const auto mapping = space_.map(memory_, {.length = 4 * kPage})) {
            own(mapping->range(), true);
            own(mapping->range(), false);
        }
    }
    for (auto& thread : threads) thread.join();
    for (auto& old : exchange)
        if (const std::uint64_t left = old.load())
            space_.iova_cache().value().free(range(Iova{left & ~(kPage - 1)}, (left & (kPage - 1)) * kPage));
    EXPECT_FALSE(twice);
    EXPECT_TRUE(reported_.empty());
    EXPECT_TRUE(space_.reserve(range(Iova{0}, kPages * kPage))) << "all of it is back";
}

// All that takes IOVAs. Stops at the first error, and lets everything go.
Result<void> take_and_give_back(const Space& space, const Memory& memory) {
    const auto window = space.reserve(range(Iova{8_MiB}, 1_MiB), "window");
    if (!window) return window.error();
    const auto placed = space.map(memory, {.iova = Iova{8_MiB}, .length = 8 * kPage, .within = *window});
    if (!placed) return placed.error();
    const auto plan = space.reserve(3 * kPage, {.label = "plan"});
    if (!plan) return plan.error();
    auto chosen = space.map(memory, {.length = 64 * kPage, .granule = kPage, .guard = kPage});
    if (!chosen) return chosen.error();
    const Iova iova = chosen->iova();
    std::move(*chosen).leave();
    auto cache = space.iova_cache();
    if (!cache) return cache.error();
    // Through the depot too.
    std::array<std::optional<Range>, 200> ranges;
    for (auto& got : ranges) got = cache->alloc(kPage);
    for (const auto& got : ranges)
        if (got) cache->free(*got);
    for (int i = 0; i < 2; ++i)
        if (auto unmapped = space.unmap(range(iova + static_cast<unsigned>(i * 2) * 8 * kPage, 8 * kPage));
            !unmapped)
            return unmapped.error();
    return space.unmap(range(iova, 64 * kPage)).transform([](std::uint64_t) {});
}

TEST_F(SpaceIovasTest, WithoutMemoryNothingIsTakenAndNothingLost) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        Space space = Space::without_iommufd({.id = "faults"}).value();
        const auto attached = space.attach(sink(0x1000, 16_MiB - 1)).value();
        // Books with something in them.
        std::vector<Mapping> others;
        for (std::uint64_t i = 0; i < 100; ++i)
            others.push_back(
                space.map(memory_, {.iova = Iova{10_MiB + i * 2 * kPage}, .length = kPage}).value());
        int code = 0;
        {
            const AllocationFaults::Armed armed(n);
            const auto done = take_and_give_back(space, memory_);
            if (!done) code = done.error().code();
            struck = armed.struck();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << "allocation " << n << " gave " << code;
        others.clear();
        if (!space.mappings().empty()) ASSERT_TRUE(space.unmap(range(Iova{0}, 16_MiB)));
        ASSERT_TRUE(space.reserve(range(Iova{0}, 16_MiB))) << "allocation " << n << " lost some";
    }
    EXPECT_GT(n, 40U);
}

}  // namespace
}  // namespace iommufd::dma
