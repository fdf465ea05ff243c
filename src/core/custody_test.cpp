// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A context whose objects another process takes over.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "core/node.hpp"
#include "iommufd/core/hwpt.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/model/machine.hpp"

namespace iommufd::core {
namespace {

class CustodyTest : public ::testing::Test {
protected:
    Context open(int fd) {
        return Context::from(DupFd{fd}, {.label = "iommufd0", .report = {}, .kernel = &machine_.kernel()})
            .value();
    }

    model::Machine machine_;
    const int fd_ = machine_.kernel().open("/dev/iommu", O_RDWR);
};

TEST_F(CustodyTest, AFrozenContextRefusesEveryCallUntilItThaws) {
    const Context context = open(fd_);
    const Ioas ioas = Ioas::alloc(context).value();
    context.node()->set_custody(Custody::frozen);
    EXPECT_EQ(ioas.iova_ranges().error().code(), EBUSY);
    EXPECT_EQ(Ioas::alloc(context).error().code(), EBUSY);
    EXPECT_EQ(context.change_process().error().code(), EBUSY);
    context.node()->set_custody(Custody::ours);
    EXPECT_TRUE(ioas.iova_ranges());
}

TEST_F(CustodyTest, WhatIsLetGoWhileItIsFrozenIsGivenBackOnceItThaws) {
    const Context context = open(fd_);
    const IoasId id = [&] {
        const Ioas ioas = Ioas::alloc(context).value();
        context.node()->set_custody(Custody::frozen);
        return ioas.id();
    }();
    EXPECT_EQ(context.not_released().size(), 1U);
    context.node()->set_custody(Custody::ours);
    EXPECT_EQ(context.retry_releases(), 0U);
    EXPECT_EQ(Ioas::alloc(context).value().id(), id);
}

TEST_F(CustodyTest, WhatIsLetGoAfterTheHandOverStaysInTheKernel) {
    const Context successor = open(fd_);
    IoasId id;
    {
        const Context context = open(fd_);
        const Ioas kept_frozen = Ioas::alloc(context).value();
        std::optional<Ioas> frozen = Ioas::alloc(context).value();
        id = kept_frozen.id();
        context.node()->set_custody(Custody::frozen);
        frozen.reset();
        context.node()->set_custody(Custody::theirs);
        EXPECT_EQ(kept_frozen.iova_ranges().error().code(), ESHUTDOWN);
        EXPECT_EQ(context.retry_releases(), 0U);
        EXPECT_TRUE(context.not_released().empty());
    }
    {
        const Ioas first = Ioas::adopt(successor, id, {.label = "guest"}).value();
        const Ioas second = Ioas::adopt(successor, IoasId{id.value + 1}, {}).value();
        EXPECT_TRUE(first.iova_ranges());
    }
    EXPECT_EQ(Ioas::alloc(successor).value().id(), id);
}

TEST_F(CustodyTest, AnIdThatIsNoAddressSpaceIsNotAdopted) {
    const Context context = open(fd_);
    const auto refused = Ioas::adopt(context, IoasId{77}, {});
    EXPECT_EQ(refused.error().code(), ENOENT);
    EXPECT_EQ(refused.error().what(), "cannot take over ioas 77 of 'iommufd0'");
    const Ioas ioas = Ioas::alloc(context).value();
    EXPECT_EQ(Hwpt::adopt(context, HwptId{}, ioas, {}).error().code(), EINVAL);
}

TEST_F(CustodyTest, ObjectsAreCounted) {
    const Context context = open(fd_);
    EXPECT_EQ(context.node()->objects(), 0U);
    {
        Ioas one = Ioas::alloc(context).value();
        const Ioas other = Ioas::alloc(context).value();
        EXPECT_EQ(context.node()->objects(), 2U);
        EXPECT_TRUE(std::move(one).destroy());
        EXPECT_EQ(context.node()->objects(), 1U);
    }
    EXPECT_EQ(context.node()->objects(), 0U);
}

}  // namespace
}  // namespace iommufd::core
