// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/owned_mutex.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "sys/membarrier.hpp"

namespace iommufd::sys {
namespace {

constexpr int kRounds = 20000;
constexpr int kClaims = 500;

struct Guarded {
    OwnedMutex mutex{register_membarrier()};
    std::uint64_t count IOMMUFD_GUARDED_BY(mutex) = 0;
};

void use(Guarded& guarded, int rounds) {
    for (int i = 0; i < rounds; ++i) {
        const OwnedLock lock(guarded.mutex);
        ++guarded.count;
    }
}

// Until `done`; the number is what it added.
std::uint64_t claim(Guarded& guarded, const std::atomic<bool>& done) {
    std::uint64_t claims = 0;
    while (!done || claims < kClaims) {
        const OwnedClaim held(guarded.mutex);
        ++guarded.count;
        ++claims;
    }
    return claims;
}

std::uint64_t count_of(Guarded& guarded) {
    const OwnedClaim held(guarded.mutex);
    return guarded.count;
}

TEST(OwnedMutexTest, ItsOwnerTakesItAgainWithoutAnExchange) {
    if (!register_membarrier()) GTEST_SKIP() << "no membarrier here";
    Guarded guarded;
    EXPECT_EQ(guarded.mutex.lock(), OwnedMutex::Hold::as_any);
    guarded.mutex.unlock(OwnedMutex::Hold::as_any);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(guarded.mutex.lock(), OwnedMutex::Hold::as_owner);
        guarded.mutex.unlock(OwnedMutex::Hold::as_owner);
        {
            const OwnedClaim held(guarded.mutex);
        }
    }
}

TEST(OwnedMutexTest, OnceAnotherThreadHasLockedItItHasNoOwner) {
    Guarded guarded;
    use(guarded, 2);
    std::thread([&] { use(guarded, 2); }).join();
    EXPECT_EQ(guarded.mutex.lock(), OwnedMutex::Hold::as_any);
    guarded.mutex.unlock(OwnedMutex::Hold::as_any);
    EXPECT_EQ(count_of(guarded), 4U);
}

TEST(OwnedMutexTest, WhereThereIsNoMembarrierItNeverHasAnOwner) {
    OwnedMutex mutex(false);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(mutex.lock(), OwnedMutex::Hold::as_any);
        mutex.unlock(OwnedMutex::Hold::as_any);
    }
}

TEST(OwnedMutexTest, NoChangeOfItsOwnerIsLostBesideClaims) {
    Guarded guarded;
    std::atomic<bool> done = false;
    std::uint64_t claims = 0;
    std::thread claimer([&] { claims = claim(guarded, done); });
    use(guarded, 10 * kRounds);
    done = true;
    claimer.join();
    EXPECT_EQ(count_of(guarded), 10U * kRounds + claims);
}

TEST(OwnedMutexTest, NoChangeIsLostWhereOthersLockWhatHasAnOwner) {
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
}  // namespace iommufd::sys
