// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/last_closes.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

namespace iommufd::inline v0_1::intercept {
namespace {

int open_watched(LastCloses& closes) {
    return closes.open_for_programs(::memfd_create("watched", MFD_CLOEXEC));
}

bool is_readable(const LastCloses& closes) {
    pollfd ready{.fd = closes.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&ready, 1, 0) == 1;
}

TEST(LastClosesTest, TellsOfAFileWhenItsLastOpeningHasEnded) {
    LastCloses closes;
    int gone = 0;
    const auto see = [&] { closes.see([&](const model::FileIdentity&) { ++gone; }); };
    const int one = open_watched(closes);
    const int same = ::dup(one);
    const int another = ::open(("/proc/self/fd/" + std::to_string(one)).c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(another, 0);
    for (const int each : {one, same, another}) {
        see();
        EXPECT_EQ(gone, 0);
        ::close(each);
    }
    see();
    EXPECT_EQ(gone, 1);
    see();  // that it isn't watched any more
    EXPECT_FALSE(is_readable(closes));
}

TEST(LastClosesTest, ShowsThatItWillLookAgainAtAFileOfWhichAnOpeningEnded) {
    LastCloses closes;
    const auto see = [&] { closes.see([](const model::FileIdentity&) {}); };
    const sys::Fd one(sys::host_kernel(), open_watched(closes));
    ::close(::open(("/proc/self/fd/" + std::to_string(one.number())).c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_TRUE(is_readable(closes));
    see();
    EXPECT_FALSE(is_readable(closes));
    pollfd ready{.fd = closes.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&ready, 1, 5000), 1);
}

TEST(LastClosesTest, MissesNoneThatStillCountsWhenLinuxTellsOfItsEnd) {
    constexpr int kRounds = 20'000;
    LastCloses closes;
    int gone = 0;
    const auto see = [&] { closes.see([&](const model::FileIdentity&) { ++gone; }); };
    std::atomic<int> to_close = -1;
    std::atomic<bool> is_over = false;
    std::thread closer([&] {
        while (!is_over)
            if (const int fd = to_close; fd >= 0) {
                ::close(fd);
                to_close = -1;
            }
    });
    int round = 0;
    while (round < kRounds && gone == round) {
        to_close = open_watched(closes);
        ++round;
        while (to_close >= 0) see();
        see();
    }
    is_over = true;
    closer.join();
    EXPECT_EQ(gone, round);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
