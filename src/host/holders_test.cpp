// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/holders.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace iommufd::host {
namespace {

// A process that was forked has all descriptors; two openings of one device are two files.
TEST(HoldersTest, AreTheOtherProcessesThatHaveTheVeryFile) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        char byte = 0;
        ::close(ends[1]);
        (void)!::read(ends[0], &byte, 1);
        ::_exit(0);
    }
    if (sys::host_kernel().shares_file(child, fd, fd) < 0) {
        ::close(ends[1]);
        ASSERT_EQ(::waitpid(child, nullptr, 0), child);
        GTEST_SKIP() << "kcmp is not allowed here";
    }
    const int another = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const auto found = other_holders(sys::host_kernel(), fd).value();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].process, child);
    EXPECT_EQ(found[0].name, "host_test");
    EXPECT_TRUE(other_holders(sys::host_kernel(), another).value().empty());
    ::close(ends[1]);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    EXPECT_TRUE(other_holders(sys::host_kernel(), fd).value().empty());
    for (const int each : {fd, another, ends[0]}) ::close(each);
}

TEST(HoldersTest, OfWhatIsNoDeviceThereAreNone) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_TRUE(other_holders(sys::host_kernel(), ends[0]).value().empty());
    for (const int end : ends) ::close(end);
    EXPECT_EQ(other_holders(sys::host_kernel(), ends[0]).error().code(), ENOENT);
}

}  // namespace
}  // namespace iommufd::host
