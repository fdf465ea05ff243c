// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/fail_nth.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace iommufd::inline v0_1::intercept {
namespace {

// Of which a test makes the allocations itself.
class CountedFailures final : public AllocationFailures {
public:
    void arm(std::uint64_t n) override { left = n; }
    std::uint64_t disarm() override { return left; }

    std::uint64_t left = 0;
};

class FailNthTest : public testing::Test {
protected:
    CountedFailures failures;
    FailNth all{&failures};
    const pid_t own = ::getpid();
};

TEST_F(FailNthTest, WhatACallHasNotUsedIsLeftForTheNext) {
    ASSERT_EQ(all.set(own, 5), 0);
    {
        const FailNth::Armed armed(all, own);
        EXPECT_EQ(failures.left, 5U);
        failures.left = 3;
    }
    EXPECT_EQ(all.get(own), 3U);
    {
        const FailNth::Armed armed(all, own);
        EXPECT_EQ(failures.left, 3U);
        failures.left = 0;
    }
    EXPECT_EQ(all.get(own), 0U) << "it has failed";
}

TEST_F(FailNthTest, OtherThreadsAreSpared) {
    ASSERT_EQ(all.set(own, 5), 0);
    const FailNth::Armed armed(all, ::getppid());
    EXPECT_EQ(failures.left, 0U);
}

TEST_F(FailNthTest, AThreadThatHasEndedLeavesNothingToItsNumber) {
    const pid_t child = ::fork();
    if (child == 0)
        for (;;) (void)::pause();
    ASSERT_EQ(all.set(child, 5), 0);
    EXPECT_EQ(all.get(child), 5U);
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    EXPECT_EQ(all.get(child), 0U);
    EXPECT_EQ(all.set(child, 5), -ESRCH);
}

TEST_F(FailNthTest, TheFileTakesNumbersAsLinuxDoes) {
    const auto file = all.open(own);
    EXPECT_TRUE(FailNth::is_of(*file));
    const auto write = [&](const std::string& text) {
        return file->pwrite(model::user::address(text.data()), text.size(), 0);
    };
    EXPECT_EQ(write("017\n"), 4);
    EXPECT_EQ(all.get(own), 15U);
    EXPECT_EQ(write("0X1f"), 4);
    EXPECT_EQ(all.get(own), 31U);
    for (const char* wrong : {"", "\n", "-1", "4294967296", "1 2", "0x", "seven", "11111111111111111111"})
        EXPECT_EQ(write(wrong), -EINVAL) << wrong;
    char text[8] = {};
    EXPECT_EQ(file->read(model::user::address(text), 2), 2);
    EXPECT_EQ(file->read(model::user::address(text + 2), 2), 1);
    EXPECT_EQ(file->read(model::user::address(text), 2), 0) << "its end";
    EXPECT_STREQ(text, "31\n");
    EXPECT_EQ(write("0"), 1);
    EXPECT_EQ(all.get(own), 0U);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
