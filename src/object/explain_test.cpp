// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/explain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace iommufd::object {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr host::Process kFull{.pinned = 512_MiB,
                              .locked = 0,
                              .memlock_limit = 512_MiB,
                              .cap_ipc_lock = false,
                              .cap_sys_resource = false};

const Error kNoMemory(Operation::ioas_map, ENOMEM);

TEST(Explain, SaysTheLimitWhatIsPinnedAndHowItIsCounted) {
    EXPECT_THAT(
        explain(kNoMemory, kFull, Accounting::per_process),
        ElementsAre(
            "RLIMIT_MEMLOCK is 512 MiB; this process has pinned 512 MiB (VmPin); accounting: per process"));
}

TEST(Explain, SaysWhosePinsCountBesides) {
    EXPECT_THAT(
        explain(kNoMemory, kFull, Accounting::per_user),
        ElementsAre(
            "RLIMIT_MEMLOCK is 512 MiB; this process has pinned 512 MiB (VmPin); accounting: per user",
            "what other processes of this user have pinned counts as well"));
}

TEST(Explain, SaysWhenItIsNotTheLimit) {
    EXPECT_THAT(
        explain(kNoMemory, kFull, Accounting::none),
        ElementsAre("RLIMIT_MEMLOCK is 512 MiB; this process has pinned 512 MiB (VmPin); accounting: none "
                    "(CAP_IPC_LOCK)",
                    "so it isn't the limit: this machine, or the memory cgroup, has no memory left"));
    host::Process unlimited = kFull;
    unlimited.memlock_limit.reset();
    EXPECT_THAT(explain(kNoMemory, unlimited, std::nullopt),
                ElementsAre("RLIMIT_MEMLOCK is unlimited; this process has pinned 512 MiB (VmPin)",
                            "so it isn't the limit: this machine, or the memory cgroup, has no memory left"));
}

TEST(Explain, HasEvidenceOnlyForCallsThatPin) {
    EXPECT_THAT(explain(Error(Operation::ioas_map, EFAULT), kFull, Accounting::per_user), IsEmpty());
    EXPECT_THAT(explain(Error(Operation::ioas_alloc, ENOMEM), kFull, Accounting::per_user), IsEmpty());
    for (const Operation operation :
         {Operation::ioas_map_file, Operation::ioas_copy, Operation::iotlb_update})
        EXPECT_FALSE(explain(Error(operation, ENOMEM), kFull, Accounting::per_user).empty());
}

}  // namespace
}  // namespace iommufd::object
