// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/dirty_runs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace iommufd::dma {

void PrintTo(const BitRun& run, std::ostream* out) { *out << "[" << run.first << ", " << run.end << ")"; }

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Bitmap = std::vector<std::uint64_t>;
using Runs = std::vector<BitRun>;

Runs found(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end,
           DirtyRuns::Simd simd) {
    Runs all;
    DirtyRuns runs(bitmap, first, end, simd);
    for (auto some = runs.next(); !some.empty(); some = runs.next())
        all.insert(all.end(), some.begin(), some.end());
    EXPECT_THAT(runs.next(), IsEmpty());
    return all;
}

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool kThreadSanitizer = false;
#endif

// Bit by bit.
Runs expected(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end) {
    Runs all;
    bool inside = false;
    for (std::uint64_t bit = first; bit < end; ++bit) {
        const bool set = (bitmap[bit / 64] >> bit % 64 & 1) != 0;
        if (set && !inside) all.push_back({bit, bit});
        if (set) all.back().end = bit + 1;
        inside = set;
    }
    return all;
}

class DirtyRunsTest : public ::testing::TestWithParam<DirtyRuns::Simd> {
protected:
    void SetUp() override {
        if (GetParam() > DirtyRuns::best()) GTEST_SKIP() << "this CPU has no such instructions";
    }
    Runs runs(std::span<const std::uint64_t> bitmap, std::uint64_t first, std::uint64_t end) {
        return found(bitmap, first, end, GetParam());
    }
};

TEST_P(DirtyRunsTest, OfNothingAreNone) {
    EXPECT_THAT(runs({}, 0, 0), IsEmpty());
    EXPECT_THAT(runs({}, 0, 100), IsEmpty());
    const Bitmap full(4, ~0ULL);
    EXPECT_THAT(runs(full, 70, 70), IsEmpty());
    EXPECT_THAT(runs(full, 80, 70), IsEmpty());
    EXPECT_THAT(runs(full, 256, 300), IsEmpty());
    EXPECT_THAT(runs(Bitmap(1000), 0, 64000), IsEmpty());
}

TEST_P(DirtyRunsTest, GoOnAcrossWordsAndEndWhereTheBitmapDoes) {
    const Bitmap full(1000, ~0ULL);
    EXPECT_THAT(runs(full, 0, 64000), ElementsAre(BitRun{0, 64000}));
    EXPECT_THAT(runs(full, 3, 63999), ElementsAre(BitRun{3, 63999}));
    EXPECT_THAT(runs(full, 5, 6), ElementsAre(BitRun{5, 6}));
    EXPECT_THAT(runs(full, 0, ~0ULL), ElementsAre(BitRun{0, 64000}));
    EXPECT_THAT(runs(Bitmap{1ULL << 63, 1, 0, 1}, 0, 256), ElementsAre(BitRun{63, 65}, BitRun{192, 193}));
}

TEST_P(DirtyRunsTest, MayBeginAndEndAtAnyWord) {
    for (std::uint64_t first = 0; first < 80; ++first)
        for (std::uint64_t end = first + 1; end < 120; ++end) {
            Bitmap bitmap(200);
            std::fill(bitmap.begin() + static_cast<std::ptrdiff_t>(first),
                      bitmap.begin() + static_cast<std::ptrdiff_t>(end), ~0ULL);
            ASSERT_THAT(runs(bitmap, 0, 12800), ElementsAre(BitRun{first * 64, end * 64}));
        }
}

TEST_P(DirtyRunsTest, AreThoseThatAWalkBitByBitFinds) {
    std::mt19937_64 random(1);
    for (int round = 0; round < 4000; ++round) {
        // Up to some words beyond 2^8 bits, and now and then beyond 2^16.
        const std::size_t words = round % 40 == 0 ? 1000 + random() % 400 : random() % 100;
        Bitmap bitmap(words);
        const unsigned kind = static_cast<unsigned>(random() % 6);
        for (std::uint64_t& word : bitmap) {
            if (kind == 0) word = random();
            if (kind == 1) word = random() & random() & random() & random() & random();
            if (kind == 2) word = ~(random() & random() & random() & random() & random());
            if (kind == 3) word = random() % 8 == 0 ? random() : random() % 2 == 0 ? ~0ULL : 0;
            if (kind == 4) word = random() % 50 == 0 ? 1ULL << random() % 64 : 0;
            if (kind == 5) word = 0x5555555555555555ULL;
        }
        std::uint64_t first = words == 0 ? 0 : random() % (words * 64 + 1);
        std::uint64_t end = words == 0 ? 0 : random() % (words * 64 + 1);
        if (round % 4 == 0) first = 0;
        if (round % 4 == 1) end = words * 64;
        if (first > end) std::swap(first, end);
        ASSERT_EQ(runs(bitmap, first, end), expected(bitmap, first, end))
            << "round " << round << ", words " << words << ", bits " << first << " to " << end;
    }
}

TEST_P(DirtyRunsTest, AreInTheirPlacesBeyondTheBitNumbersOf8And16And32Bits) {
    if (kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer keeps much memory for each word that is read";
    constexpr std::uint64_t kBits = (1ULL << 32) + (1ULL << 20);
    void* const area = ::mmap(nullptr, kBits / 8, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(area, MAP_FAILED);
    const std::span bitmap(static_cast<std::uint64_t*>(area), kBits / 64);
    // Ends of runs just below, at and above each border, and one run across.
    Runs set;
    for (const std::uint64_t border : {1ULL << 8, 1ULL << 16, 1ULL << 31, 1ULL << 32}) {
        set.push_back({border - 130, border - 129});
        set.push_back({border - 100, border - 64});
        set.push_back({border - 1, border + 1});
        set.push_back({border + 63, border + 65});
        set.push_back({border + 200, border + 201});
    }
    set.push_back({kBits - 1, kBits});
    for (const BitRun& run : set)
        for (std::uint64_t bit = run.first; bit < run.end; ++bit) bitmap[bit / 64] |= 1ULL << bit % 64;
    EXPECT_EQ(runs(bitmap, 0, kBits), set);
    EXPECT_THAT(runs(bitmap, (1ULL << 32) - 80, (1ULL << 32) + 1),
                ElementsAre(BitRun{(1ULL << 32) - 80, (1ULL << 32) - 64},
                            BitRun{(1ULL << 32) - 1, (1ULL << 32) + 1}));
    ::munmap(area, kBits / 8);
}

INSTANTIATE_TEST_SUITE_P(With, DirtyRunsTest,
                         ::testing::Values(DirtyRuns::Simd::portable, DirtyRuns::Simd::avx2,
                                           DirtyRuns::Simd::avx512),
                         [](const auto& of) {
                             return of.param == DirtyRuns::Simd::portable ? "PortableCode"
                                    : of.param == DirtyRuns::Simd::avx2   ? "Avx2"
                                                                          : "Avx512";
                         });

}  // namespace
}  // namespace iommufd::dma
