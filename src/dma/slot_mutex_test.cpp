// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/slot_mutex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "sys/membarrier.hpp"

namespace iommufd::dma {
namespace {

constexpr int kRounds = 20000;
constexpr int kClaims = 500;

struct Guarded {
    SlotMutex mutex{sys::register_membarrier()};
    std::uint64_t count IOMMUFD_GUARDED_BY(mutex) = 0;
};

void use(Guarded& guarded, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        const SlotLock lock(guarded.mutex);
        ++guarded.count;
    }
}

// Until `done`; the number is what it added.
std::uint64_t claim(Guarded& guarded, const std::atomic<bool>& done) {
    std::uint64_t claims = 0;
    while (!done || claims < kClaims) {
        const SlotClaim held(guarded.mutex);
        ++guarded.count;
        ++claims;
    }
    return claims;
}

std::uint64_t count_of(Guarded& guarded) {
    const SlotClaim held(guarded.mutex);
    return guarded.count;
}

TEST(SlotMutexTest, ItsOwnerTakesItAgainWithoutAnExchange) {
    if (!sys::register_membarrier()) GTEST_SKIP() << "no membarrier here";
    Guarded guarded;
    EXPECT_EQ(guarded.mutex.lock(), SlotMutex::Hold::as_any);
    guarded.mutex.unlock(SlotMutex::Hold::as_any);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(guarded.mutex.lock(), SlotMutex::Hold::as_owner);
        guarded.mutex.unlock(SlotMutex::Hold::as_owner);
        {
            const SlotClaim held(guarded.mutex);
        }
    }
}

TEST(SlotMutexTest, OnceAnotherThreadHasLockedItItHasNoOwner) {
    Guarded guarded;
    use(guarded, 2);
    std::thread([&] { use(guarded, 2); }).join();
    EXPECT_EQ(guarded.mutex.lock(), SlotMutex::Hold::as_any);
    guarded.mutex.unlock(SlotMutex::Hold::as_any);
    EXPECT_EQ(count_of(guarded), 4U);
}

TEST(SlotMutexTest, WhereThereIsNoMembarrierItNeverHasAnOwner) {
    SlotMutex mutex(false);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(mutex.lock(), SlotMutex::Hold::as_any);
        mutex.unlock(SlotMutex::Hold::as_any);
    }
}

TEST(SlotMutexTest, NoChangeOfItsOwnerIsLostBesideClaims) {
    Guarded guarded;
    std::atomic<bool> done = false;
    std::uint64_t claims = 0;
    std::thread claimer([&] { claims = claim(guarded, done); });
    use(guarded, 10 * kRounds);
    done = true;
    claimer.join();
    EXPECT_EQ(count_of(guarded), 10U * kRounds + claims);
}

TEST(SlotMutexTest, NoChangeIsLostWhereOthersLockWhatHasAnOwner) {
    for (int turn = 0; turn < 20; ++turn) {
        Guarded guarded;
        std::atomic<bool> done = false;
        std::uint64_t claims = 0;
        std::thread claimer([&] { claims = claim(guarded, done); });
        std::vector<std::thread> users;
        for (int i = 0; i < 3; ++i) users.emplace_back([&] { use(guarded, kRounds); });
        for (std::thread& user : users) user.join();
        done = true;
        claimer.join();
        EXPECT_EQ(count_of(guarded), 3U * kRounds + claims);
    }
}

}  // namespace
}  // namespace iommufd::dma
