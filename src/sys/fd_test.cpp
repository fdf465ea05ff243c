// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/fd.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>

#include "sys/faulty_kernel.hpp"

namespace iommufd::sys {
namespace {

static_assert(!std::is_copy_constructible_v<Fd>);
static_assert(!std::is_copy_assignable_v<Fd>);
static_assert(std::is_nothrow_move_constructible_v<Fd>);
static_assert(std::is_nothrow_move_assignable_v<Fd>);

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// Counts the calls that reach the machine; each of them here is an open or a close.
class FdTest : public testing::Test {
protected:
    Fd null() { return Fd(kernel_, kernel_.open("/dev/null", O_RDWR)); }

    FaultyKernel kernel_{host_kernel()};
};

TEST_F(FdTest, IsEmptyByDefault) {
    Fd fd;
    EXPECT_FALSE(fd);
    EXPECT_EQ(fd.number(), -1);
    EXPECT_EQ(fd.close(), 0);
}

TEST_F(FdTest, ClosesOnceWhenItGoes) {
    int number = -1;
    {
        const Fd fd = null();
        ASSERT_TRUE(fd);
        number = fd.number();
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
    EXPECT_EQ(kernel_.calls(), 2U);
}

TEST_F(FdTest, ClosesOnceWhenToldTo) {
    {
        Fd fd = null();
        EXPECT_EQ(fd.close(), 0);
        EXPECT_FALSE(fd);
        EXPECT_EQ(fd.close(), 0);
    }
    EXPECT_EQ(kernel_.calls(), 2U);
}

TEST_F(FdTest, SaysWhatCloseSaidAndIsEmptyAllTheSame) {
    FaultyKernel kernel(host_kernel(), {.call = 1, .error = EIO});
    Fd fd(kernel, host_kernel().open("/dev/null", O_RDWR));
    const int number = fd.number();
    EXPECT_EQ(fd.close(), -EIO);
    EXPECT_FALSE(fd);
    EXPECT_FALSE(is_open(number));
}

TEST_F(FdTest, GivesItsDescriptorToTheOneItIsMovedInto) {
    Fd first = null();
    const int number = first.number();
    const Fd second = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(second.number(), number);
    EXPECT_EQ(&second.kernel(), &kernel_);
    EXPECT_TRUE(is_open(number));
}

TEST_F(FdTest, ClosesWhatItHadWhenAnotherIsMovedIn) {
    Fd target = null();
    Fd source = null();
    const int old = target.number();
    const int kept = source.number();
    target = std::move(source);
    EXPECT_FALSE(is_open(old));
    EXPECT_TRUE(is_open(kept));
    EXPECT_EQ(target.number(), kept);
    EXPECT_EQ(kernel_.calls(), 3U);
}

TEST_F(FdTest, SurvivesAMoveIntoItself) {
    Fd fd = null();
    Fd& same = fd;
    fd = std::move(same);
    EXPECT_TRUE(fd);
    EXPECT_TRUE(is_open(fd.number()));
}

TEST_F(FdTest, LeavesAReleasedDescriptorOpen) {
    int number = -1;
    {
        Fd fd = null();
        number = fd.release();
        EXPECT_FALSE(fd);
    }
    EXPECT_TRUE(is_open(number));
    EXPECT_EQ(kernel_.close(number), 0);
}

TEST_F(FdTest, SendsIoctlsToItsOwnKernel) {
    const Fd fd = null();
    int waiting = 0;
    EXPECT_EQ(fd.ioctl(FIONREAD, &waiting), -ENOTTY);
    EXPECT_EQ(kernel_.calls(), 2U);
}

}  // namespace
}  // namespace iommufd::sys
