// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/peer.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>

#include "broker/protocol.hpp"
#include "broker/testing.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

TEST(Peer, is_who_connected) {
    const Peer peer = ourselves();
    EXPECT_EQ(peer.process, ::getpid());
    EXPECT_EQ(peer.user, ::getuid());
    EXPECT_EQ(peer.group, ::getgid());
    EXPECT_TRUE(peer.is_alive());
    EXPECT_THAT(peer.text(), ::testing::HasSubstr("process " + std::to_string(::getpid()) + " '"));
}

TEST(Peer, whose_number_another_process_has_by_now_is_not_taken_for_it) {
    const Peer peer = reused();
    EXPECT_FALSE(peer.is_alive());
    EXPECT_EQ(peer.cgroup().error().code(), ESRCH);
    EXPECT_EQ(peer.text().find('\''), std::string::npos) << "the name of the other's program";
}

TEST(Peer, whose_number_another_process_has_by_now_leaves_that_ones_limit_alone) {
    rlimit before{}, after{};
    ::getrlimit(RLIMIT_MEMLOCK, &before);
    EXPECT_EQ(reused().allow_locked(kUnlimited).error().code(), ESRCH);
    ::getrlimit(RLIMIT_MEMLOCK, &after);
    EXPECT_EQ(after.rlim_cur, before.rlim_cur);
    EXPECT_EQ(after.rlim_max, before.rlim_max);
}

TEST(Peer, a_limit_is_raised_never_lowered) {
    rlimit before{};
    ::getrlimit(RLIMIT_MEMLOCK, &before);
    Child child;
    const Peer peer{
        .process = child.process(),
        .user = ::getuid(),
        .group = ::getgid(),
        .handle = {sys::host_kernel(), static_cast<int>(::syscall(SYS_pidfd_open, child.process(), 0))}};
    rlimit now{};
    ASSERT_TRUE(peer.allow_locked(4096));
    ::prlimit(child.process(), RLIMIT_MEMLOCK, nullptr, &now);
    EXPECT_EQ(now.rlim_cur, before.rlim_cur);
    const auto raised = peer.allow_locked(kUnlimited);
    ::prlimit(child.process(), RLIMIT_MEMLOCK, nullptr, &now);
    if (raised)
        EXPECT_EQ(now.rlim_cur, RLIM_INFINITY);
    else
        EXPECT_EQ(raised.error().code(), EPERM);
}

TEST(Peer, belongs_to_the_outermost_unit_since_a_user_names_those_below_as_he_likes) {
    EXPECT_EQ(unit_of("/system.slice/vm-a.service"), "vm-a.service");
    EXPECT_EQ(unit_of("/machine.slice/machine-qemu.slice/vm.scope/emulator"), "vm.scope");
    EXPECT_EQ(unit_of("/user.slice/user-1000.slice/user@1000.service/vm-a.service"), "user@1000.service");
    EXPECT_EQ(unit_of("/kubepods/vm-a.service"), "");
    EXPECT_EQ(unit_of("/system.slice"), "");
    EXPECT_EQ(unit_of("/"), "");
    EXPECT_EQ(unit_of(""), "");
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
