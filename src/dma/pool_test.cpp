// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/pool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "support/allocation_faults.hpp"
#include "support/fake_sink.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using Buffer = Pool::Buffer;

constexpr std::uint64_t kPage = 4096;

class PoolTest : public ::testing::Test {
protected:
    // Whether all of it can be had at once.
    static bool is_whole(const Pool& pool) { return pool.alloc(pool.bytes().size()).has_value(); }
    Space space_ = Space::without_iommufd({.id = "dma0"}).value();
};

TEST_F(PoolTest, ABufferKnowsItsAddressOnBothSidesByArithmetic) {
    const auto sink = std::make_shared<FakeSink>("sink");
    const auto attached = space_.attach(sink).value();
    const Pool pool = Pool::create(space_, 1_MiB).value();
    ASSERT_EQ(sink->pieces().size(), 1U) << "one mapping";
    EXPECT_EQ(pool.range(), *Range::of(sink->pieces().begin()->first, 1_MiB));
    for (const std::uint64_t size : {1ULL, 64ULL, 100ULL, 2048ULL, 5000ULL, 300000ULL}) {
        const Buffer buffer = pool.alloc(size).value();
        EXPECT_EQ(buffer.size(), size);
        EXPECT_EQ(buffer.data() - pool.bytes().data(),
                  static_cast<std::ptrdiff_t>(buffer.iova() - pool.range().first));
        EXPECT_TRUE(pool.range().contains(*Range::of(buffer.iova(), size)));
        EXPECT_EQ(pool.iova_of(buffer.data() + size - 1), buffer.iova() + (size - 1));
        EXPECT_EQ(pool.pointer_of(buffer.iova()), buffer.data());
        auto reader = space_.reader();
        const auto guard = reader.enter();
        EXPECT_EQ(guard.translate(buffer.iova(), size, Access::write).data(), buffer.data());
        std::memset(buffer.data(), 0xa5, size);
    }
}

TEST_F(PoolTest, KeepsTheAlignmentThatIsAskedForWhereverItIsMapped) {
    for (const Iova iova : {Iova{0x1000}, Iova{0x43000}, Iova{0x7fc1f000}}) {
        const Pool pool = Pool::create(space_, 5_MiB, {}, {.iova = iova}).value();
        for (std::uint64_t alignment = 1; alignment <= 2_MiB; alignment *= 2)
            for (const std::uint64_t size : {64ULL, 3000ULL, 70000ULL, 270000ULL}) {
                const auto buffer = pool.alloc(size, alignment);
                ASSERT_TRUE(buffer) << size << " " << alignment;
                EXPECT_EQ(buffer->iova().value % alignment, 0U);
                EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->data()) % std::min(alignment, kPage), 0U);
            }
        EXPECT_FALSE(pool.alloc(64, 3));
        EXPECT_FALSE(pool.alloc(64, 0));
    }
    const Pool chosen = Pool::create(space_, 8_MiB).value();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(chosen.alloc(64, 2_MiB)->data()) % 2_MiB, 0U);
}

TEST_F(PoolTest, WhenItIsUsedUpThereIsNoBufferUntilOneGoes) {
    const Pool pool = Pool::create(space_, 64_KiB).value();
    for (const std::uint64_t size : {64ULL, 512ULL, 2048ULL, 4096ULL, 12288ULL}) {
        std::vector<Buffer> buffers;
        while (auto buffer = pool.alloc(size)) buffers.push_back(std::move(*buffer));
        // Of 64 bytes 61 go into a page.
        EXPECT_EQ(buffers.size(), size == 64 ? 16 * 61 : 64_KiB / size);
        EXPECT_FALSE(pool.alloc(size));
        buffers.erase(buffers.begin() + static_cast<std::ptrdiff_t>(buffers.size() / 2));
        EXPECT_TRUE(pool.alloc(size));
    }
    EXPECT_FALSE(pool.alloc(0));
    EXPECT_FALSE(pool.alloc(64_KiB + 1));
    EXPECT_FALSE(pool.alloc(~0ULL));
    EXPECT_TRUE(is_whole(pool)) << "what was small is large again";
}

TEST_F(PoolTest, NeitherAllocatesNorFailsForWantOfMemory) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    const Pool pool = Pool::create(space_, 1_MiB).value();
    {
        const AllocationFaults::Armed armed(1);
        for (int i = 0; i < 100; ++i)
            for (const std::uint64_t size : {64ULL, 2000ULL, 10000ULL, 600000ULL}) {
                auto buffer = pool.alloc(size);
                if (!buffer) std::abort();
            }
        while (pool.alloc(2_MiB)) {
        }
        EXPECT_EQ(armed.count(), 0U);
    }
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        Space space = Space::without_iommufd({.id = "faults"}).value();
        const auto before = AllocationFaults::live();
        int code = 0;
        {
            const AllocationFaults::Armed armed(n);
            const auto made = Pool::create(space, 1_MiB);
            if (!made) code = made.error().code();
            struck = armed.struck();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << n;
        ASSERT_TRUE(space.mappings().empty());
        if (n == 1) ASSERT_EQ(AllocationFaults::live(), before);
    }
    EXPECT_GT(n, 10U);
}

TEST_F(PoolTest, ItsMappingStaysAsLongAsOneOfItsBuffers) {
    auto buffer = [&] { return Pool::create(space_, 1_MiB).value().alloc(64); }();
    ASSERT_EQ(space_.mappings().size(), 1U);
    std::memset(buffer->data(), 1, buffer->size());
    buffer.reset();
    EXPECT_TRUE(space_.mappings().empty());
}

TEST_F(PoolTest, IsMadeOfAnyMemoryThatHasAnAddress) {
    const Pool anonymous = Pool::over(space_, Memory::anonymous(2_MiB).value()).value();
    EXPECT_TRUE(is_whole(anonymous));
    const Pool huge =
        Pool::create(space_, 4_MiB, {.label = "huge", .huge_pages = Memory::HugePages::transparent}).value();
    EXPECT_EQ(huge.memory().label(), "huge");
    EXPECT_EQ(huge.alloc(2_MiB, 2_MiB)->iova().value % 2_MiB, 0U);
    EXPECT_TRUE(is_whole(huge));
    const auto taken = Pool::create(space_, 1_MiB, {}, {.iova = huge.range().first});
    EXPECT_EQ(taken.error().code(), EEXIST);
}

// An array of owners says which bytes are whose.
TEST_F(PoolTest, BuffersNeverOverlapAndAllIsGivenBackWhateverIsAskedFor) {
    std::mt19937_64 random(1);
    const Pool pool = Pool::create(space_, 3_MiB, {}, {.iova = Iova{0x123000}}).value();
    constexpr std::uint64_t kUnit = 64;
    std::vector<bool> owned(3_MiB / kUnit);
    std::vector<Buffer> live;
    std::uint64_t bytes = 0;
    int refused = 0;
    const auto own = [&](const Buffer& buffer, bool now) {
        const auto first = static_cast<std::uint64_t>(buffer.data() - pool.bytes().data());
        ASSERT_LE(first + buffer.size(), 3_MiB);
        for (std::uint64_t at = first / kUnit; at * kUnit < first + buffer.size(); ++at) {
            ASSERT_EQ(owned[at], !now);
            owned[at] = now;
        }
        bytes = now ? bytes + buffer.size() : bytes - buffer.size();
    };
    for (int step = 0; step < 40000; ++step) {
        const bool grows = step / 4000 % 2 == 0;
        if (live.empty() || random() % 8 < (grows ? 6U : 2U)) {
            const std::uint64_t size = 1 + random() % (1ULL << (4 + random() % 16));
            const std::uint64_t alignment = 1ULL << random() % 15;
            auto buffer = pool.alloc(size, alignment);
            if (!buffer) {
                ++refused;
                continue;
            }
            ASSERT_EQ(buffer->iova().value % alignment, 0U);
            own(*buffer, true);
            live.push_back(std::move(*buffer));
        } else {
            std::swap(live[random() % live.size()], live.back());
            own(live.back(), false);
            live.pop_back();
        }
        if (::testing::Test::HasFatalFailure()) FAIL() << "step " << step;
        // With nine tenths free a page can be had.
        if (bytes < 3_MiB / 10 && live.size() < 100) ASSERT_TRUE(pool.alloc(kPage));
    }
    EXPECT_GT(refused, 50);
    live.clear();
    EXPECT_TRUE(is_whole(pool));
}

TEST_F(PoolTest, ThreadsNeverGetTheSameBytesAndLeaveNothingBehind) {
    const Pool pool = Pool::create(space_, 1_MiB).value();
    std::vector<std::atomic<bool>> owned(1_MiB / 64);
    std::atomic<bool> twice = false;
    const auto own = [&](const Buffer& buffer, bool now) {
        const auto first = static_cast<std::uint64_t>(buffer.data() - pool.bytes().data());
        for (std::uint64_t at = first / 64; at * 64 < first + buffer.size(); ++at)
            if (owned[at].exchange(now) == now) twice = true;
    };
    // What one thread allocates another one frees.
    std::vector<std::atomic<Buffer*>> exchange(64);
    const auto free = [&](Buffer* buffer) {
        if (!buffer) return;
        own(*buffer, false);
        delete buffer;
    };
    const auto work = [&](unsigned seed) {
        std::mt19937_64 random(seed);
        for (int i = 0; i < 30000; ++i) {
            Buffer* mine = nullptr;
            // Mostly what shares pages; sometimes more than there is.
            const std::uint64_t size = random() % 64 == 0 ? 1 + random() % 300000 : 1 + random() % 3000;
            if (auto buffer = pool.alloc(size)) {
                own(*buffer, true);
                mine = new Buffer(std::move(*buffer));
            }
            free(exchange[random() % 64].exchange(mine));
        }
    };
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
    for (auto& thread : threads) thread.join();
    for (auto& left : exchange) free(left.load());
    EXPECT_FALSE(twice);
    EXPECT_TRUE(is_whole(pool));
}

}  // namespace
}  // namespace iommufd::dma
