// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The choice of IOVAs, against an array of pages, and over a long time. IOMMUFD_ALLOCATOR_STEPS: how many choices the long
// run makes (200000).
#include "dma/iova_allocator.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

namespace iommufd::dma {
namespace {

constexpr std::uint64_t kPage = 4096;

Range range(std::uint64_t first, std::uint64_t last) { return {Iova{first}, Iova{last}}; }

class IovaAllocatorTest : public ::testing::Test {
protected:
    std::optional<Range> alloc(const IovaAllocator::Wanted& wanted) {
        allocator_.reserve(++taken_);
        return allocator_.alloc(wanted);
    }
    // What it would be.
    std::optional<Range> choose(const IovaAllocator::Wanted& wanted) {
        const auto found = alloc(wanted);
        if (found) allocator_.give_back({found->first - wanted.guard, found->last + wanted.guard});
        allocator_.settle();
        return found;
    }
    std::optional<Iova> first(const IovaAllocator::Wanted& wanted) {
        const auto found = alloc(wanted);
        return found ? std::optional(found->first) : std::nullopt;
    }
    IovaAllocator allocator_;
    std::size_t taken_ = 0;
};

TEST_F(IovaAllocatorTest, ChoosesTheLowestFreeRangeThatIsAllowedAndNeverZero) {
    EXPECT_FALSE(alloc({.length = kPage}));
    allocator_.allow({range(0, 0x2fff), range(0x5000, 0x7fff)});
    EXPECT_EQ(first({.length = 1}), Iova{1});
    EXPECT_EQ(first({.length = kPage, .alignment = kPage}), Iova{0x1000});
    EXPECT_EQ(first({.length = 2 * kPage, .alignment = kPage}), Iova{0x5000});
    EXPECT_EQ(first({.length = kPage, .alignment = kPage, .last = Iova{0x1fff}}), std::nullopt);
    EXPECT_EQ(first({.length = kPage, .alignment = kPage}), Iova{0x2000});
    EXPECT_EQ(first({.length = 2 * kPage, .alignment = kPage}), std::nullopt);
    EXPECT_EQ(first({.length = kPage, .alignment = kPage}), Iova{0x7000});
    allocator_.give_back(range(0x5000, 0x5fff));
    EXPECT_EQ(first({.length = kPage, .alignment = kPage}), Iova{0x5000});
}

TEST_F(IovaAllocatorTest, WhatWasGivenBackGoesOutAgainAtOnceOrTogetherWithItsNeighbours) {
    allocator_.allow({range(0x1000, 0x4fff)});
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(alloc({.length = kPage, .alignment = kPage}));
    for (const std::uint64_t iova : {0x1000UL, 0x2000UL, 0x4000UL})
        allocator_.give_back(*Range::of(Iova{iova}, kPage));
    EXPECT_EQ(first({.length = kPage, .alignment = kPage}), Iova{0x4000});
    allocator_.give_back(range(0x4000, 0x4fff));
    EXPECT_EQ(first({.length = kPage, .alignment = 2 * kPage, .last = Iova{0x3fff}}), Iova{0x2000});
    allocator_.give_back(range(0x2000, 0x2fff));
    EXPECT_EQ(first({.length = 2 * kPage, .alignment = kPage}), Iova{0x1000});
    EXPECT_TRUE(allocator_.take(range(0x4000, 0x4fff)));
    EXPECT_FALSE(allocator_.take(range(0x4000, 0x4fff)));
}

TEST_F(IovaAllocatorTest, IsCongruentToTheAddressModuloTheLargestPageThatFits) {
    allocator_.allow({range(0, (1ULL << 47) - 1)});
    const std::uint64_t address = 0x7f1234567000;
    EXPECT_EQ(first({.length = 2_MiB - kPage, .alignment = kPage, .address = address}), Iova{0x1000});
    EXPECT_EQ(first({.length = 2_MiB, .alignment = kPage, .address = address})->value % 2_MiB,
              address % 2_MiB);
    EXPECT_EQ(first({.length = 1_GiB, .alignment = kPage, .address = address})->value % 1_GiB,
              address % 1_GiB);
    // Where there is no room for that, for the smaller page.
    allocator_.allow({range(8_GiB, 8_GiB + 64_MiB - 1)});
    EXPECT_EQ(first({.length = 48_MiB, .alignment = kPage, .address = address})->value,
              8_GiB + address % 2_MiB);
    EXPECT_EQ(first({.length = 4_MiB, .alignment = 4_MiB})->value, 8_GiB + 52_MiB);
    EXPECT_FALSE(first({.length = 16_MiB, .alignment = kPage, .address = address}));
}

TEST_F(IovaAllocatorTest, WhatIsTakenStaysTakenWhileWhatIsAllowedNarrowsAndWidens) {
    allocator_.allow({range(0, (1ULL << 32) - 1)});
    const Range low = *alloc({.length = 1_MiB, .alignment = 1_MiB});
    allocator_.reserve(2);
    ASSERT_TRUE(allocator_.take(range(2_GiB, 2_GiB + 0xfff)));
    allocator_.allow({range(0, 1_GiB - 1)});
    EXPECT_FALSE(choose({.length = 1_GiB, .alignment = 1_GiB}));
    allocator_.give_back(range(2_GiB, 2_GiB + 0xfff));
    EXPECT_FALSE(allocator_.take(low));
    EXPECT_TRUE(allocator_.take(range(2_GiB, 2_GiB + 0xfff)))
        << "taking asks for what is free, not for what is allowed";
    allocator_.allow({range(0, (1ULL << 32) - 1)});
    EXPECT_EQ(choose({.length = 1_GiB, .alignment = 1_GiB})->first, Iova{1_GiB});
    EXPECT_EQ(choose({.length = 2_GiB, .alignment = 1_MiB}), std::nullopt);
}

TEST_F(IovaAllocatorTest, AGuardIsFreeOnBothSides) {
    allocator_.allow({range(0, 0xffff)});
    allocator_.reserve(1);
    ASSERT_TRUE(allocator_.take(range(0x4000, 0x4fff)));
    EXPECT_EQ(choose({.length = kPage, .alignment = kPage, .guard = kPage})->first, Iova{0x1000});
    EXPECT_EQ(choose({.length = 2 * kPage, .alignment = kPage, .guard = kPage})->first, Iova{0x1000});
    EXPECT_EQ(choose({.length = 3 * kPage, .alignment = kPage, .guard = kPage})->first, Iova{0x6000});
    EXPECT_EQ(choose({.length = kPage, .alignment = kPage, .guard = 2 * kPage})->first, Iova{0x7000});
    EXPECT_EQ(choose({.length = kPage, .alignment = kPage, .guard = ~0ULL}), std::nullopt);
    // What is not allowed is nobody's choice either.
    EXPECT_EQ(choose({.length = 11 * kPage, .alignment = kPage, .guard = kPage}), std::nullopt);
    EXPECT_EQ(choose({.length = 10 * kPage, .alignment = kPage, .guard = kPage})->first, Iova{0x6000});
}

TEST_F(IovaAllocatorTest, ManyHolesThatAreLargeEnoughButMisalignedHideNoneThatFits) {
    allocator_.allow({range(0, (1ULL << 40) - 1)});
    constexpr std::uint64_t kHoles = 3 * IovaAllocator::kMisfits;
    allocator_.reserve(kHoles + 2);
    // Holes of 2 MiB that begin 4 KiB too late; then the rest of the addresses; then none of that, but one hole that fits exactly.
    for (std::uint64_t i = 0; i < kHoles; ++i)
        ASSERT_TRUE(allocator_.take(*Range::of(Iova{i * 4_MiB}, 2_MiB + kPage)));
    const IovaAllocator::Wanted wanted{.length = 2_MiB - kPage, .alignment = 2_MiB};
    EXPECT_EQ(choose(wanted)->first, Iova{kHoles * 4_MiB});
    ASSERT_TRUE(allocator_.take(range(kHoles * 4_MiB, (1ULL << 40) - 1)));
    EXPECT_FALSE(choose(wanted));
    const Iova exact{(kHoles - 1) * 4_MiB + 2_MiB};
    allocator_.give_back(*Range::of(exact, kPage));
    EXPECT_EQ(choose(wanted)->first, exact);
}

// An array of pages says what the lowest fit is.
class Pages {
public:
    static constexpr std::uint64_t kCount = 3000;

    bool is_free(std::uint64_t first, std::uint64_t count) const {
        for (std::uint64_t i = first; i < first + count; ++i)
            if (i >= kCount || taken_[i]) return false;
        return true;
    }
    bool is_allowed(std::uint64_t first, std::uint64_t count) const {
        const Range wanted = *Range::of(Iova{first * kPage}, count * kPage);
        for (const Range& range : allowed)
            if (range.contains(wanted)) return true;
        return false;
    }
    std::optional<std::uint64_t> lowest(std::uint64_t count, std::uint64_t guard, std::uint64_t modulus,
                                        std::uint64_t remainder) const {
        for (std::uint64_t first = 1; first + count <= kCount; ++first)
            if (first % modulus == remainder && first >= guard && is_allowed(first, count) &&
                is_free(first - guard, count + 2 * guard))
                return first;
        return std::nullopt;
    }
    void set(std::uint64_t first, std::uint64_t count, bool taken) {
        std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(first), count, taken);
    }
    std::vector<Range> allowed;

private:
    std::vector<bool> taken_ = std::vector<bool>(kCount);
};

TEST(IovaAllocatorPropertyTest, ChoosesWhatAnArrayOfPagesChooses) {
    std::mt19937_64 random(1);
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    IovaAllocator allocator;
    Pages pages;
    allocator.reserve(1);
    // So that nothing beyond the array is free.
    ASSERT_TRUE(allocator.take(range(Pages::kCount * kPage, ~0ULL)));
    std::vector<Range> live;
    const auto attach = [&] {
        pages.allowed.clear();
        for (std::uint64_t at = below(200); at < Pages::kCount;) {
            const std::uint64_t count = 1 + below(Pages::kCount);
            pages.allowed.push_back(range(at * kPage, (at + count) * kPage - 1));
            at += count + 1 + below(100);
        }
        allocator.allow(pages.allowed);
    };
    attach();
    int chosen = 0;
    int lowest = 0;
    for (int step = 0; step < 30000; ++step) {
        if (below(300) == 0) attach();
        if (below(10) < 5 && !live.empty()) {
            std::swap(live[below(live.size())], live.back());
            const Range part = live.back();
            live.pop_back();
            allocator.give_back(part);
            pages.set(part.first.value / kPage, part.length() / kPage, false);
            continue;
        }
        allocator.reserve(live.size() + 2);
        Range part{};
        if (below(4) == 0) {
            // At an IOVA of the caller's choice.
            const std::uint64_t first = below(Pages::kCount);
            const std::uint64_t count = 1 + below(std::min<std::uint64_t>(40, Pages::kCount - first));
            part = *Range::of(Iova{first * kPage}, count * kPage);
            ASSERT_EQ(allocator.take(part), pages.is_free(first, count));
            if (!pages.is_free(first, count)) continue;
        } else {
            const std::uint64_t count = 1 + below(below(10) == 0 ? 700 : 30);
            const std::uint64_t guard = below(4) == 0 ? below(4) : 0;
            const std::uint64_t alignment = std::uint64_t{1} << below(6);
            const std::uint64_t address = below(1 << 20);
            auto expected = pages.lowest(count, guard, alignment, address % alignment);
            // 2 MiB pages are 512 of these.
            if (count >= 512)
                if (const auto larger = pages.lowest(count, guard, 512, address % 512)) expected = larger;
            // What was given back just now goes out first; behind many misfits it is perhaps not the lowest either.
            const bool settled = below(2) == 0;
            if (settled) allocator.settle();
            const bool exactly = settled && allocator.free_ranges().size() <= IovaAllocator::kMisfits;
            const auto found = allocator.alloc({.length = count * kPage,
                                                .alignment = alignment * kPage,
                                                .address = address * kPage,
                                                .guard = guard * kPage});
            ASSERT_EQ(found.has_value(), expected.has_value()) << "step " << step;
            if (!found) continue;
            const std::uint64_t first = found->first.value / kPage;
            if (exactly) ASSERT_EQ(first, *expected) << "step " << step;
            lowest += exactly ? 1 : 0;
            ASSERT_EQ((first - address) % alignment, 0U);
            ASSERT_TRUE(first > 0 && pages.is_allowed(first, count));
            ASSERT_TRUE(pages.is_free(first - guard, count + 2 * guard));
            part = {found->first - guard * kPage, found->last + guard * kPage};
            ASSERT_TRUE(allocator.is_taken(part));
            ++chosen;
        }
        pages.set(part.first.value / kPage, part.length() / kPage, true);
        live.push_back(part);
        if (step % 1000 == 0) ASSERT_TRUE(allocator.free_ranges().is_sound());
    }
    EXPECT_GT(chosen, 5000);
    EXPECT_GT(lowest, 1000);
}

// Sizes as drivers have them, live for a short or a very long time, at most kLive at once.
TEST(IovaAllocatorPropertyTest, HowEverLongItGoesOnTheAddressesInUseStayBoundedByWhatIsLive) {
    constexpr std::size_t kLive = 4096;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    const char* const wanted = std::getenv("IOMMUFD_ALLOCATOR_STEPS");
    const std::uint64_t steps = wanted ? std::strtoull(wanted, nullptr, 10) : 200000;
    std::mt19937_64 random(1);
    IovaAllocator allocator;
    allocator.allow({range(0, (1ULL << 48) - 1)});
    allocator.reserve(kLive);
    std::vector<std::optional<Range>> live(kLive);
    std::uint64_t bytes = 0;
    std::uint64_t most_bytes = 0;
    for (std::uint64_t step = 0; step < steps; ++step) {
        // A quarter of the places changes rarely.
        auto& place = live[random() % 64 == 0 ? random() % kLive : random() % (kLive / 4 * 3)];
        if (place) {
            allocator.give_back(*place);
            bytes -= place->length();
        }
        std::uint64_t length = kPage << (random() % 6);
        if (random() % 16 == 0) length = kPage * (1 + random() % 1024);
        place = allocator.alloc({.length = length, .alignment = kPage, .address = random() << 12});
        ASSERT_TRUE(place);
        bytes += length;
        most_bytes = std::max(most_bytes, bytes);
        // Each live range has at most one hole behind it; the addresses in use are at most twice what was ever live at once.
        ASSERT_LE(allocator.free_ranges().size(), kLive + 1);
        ASSERT_LT(place->last.value, 2 * most_bytes + 4_MiB) << "step " << step;
    }
    for (const auto& place : live)
        if (place) allocator.give_back(*place);
    allocator.settle();
    EXPECT_EQ(allocator.free_ranges().size(), 1U);
    EXPECT_TRUE(allocator.free_ranges().is_sound());
}

}  // namespace
}  // namespace iommufd::dma
