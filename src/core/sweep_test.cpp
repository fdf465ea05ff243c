// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "core/sweep.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/node.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::core {
namespace {

class SweepTest : public ::testing::Test {
protected:
    explicit SweepTest(const char* machine = "devices=") : machine_(model::parse(machine).value()) {}

    // As a program that the library knows nothing of does it.
    std::uint32_t alloc() {
        uapi::IoasAlloc command{.size = sizeof command, .flags = 0, .out_ioas_id = 0};
        EXPECT_EQ(context_.node()->ioctl(uapi::kIoasAlloc, &command), 0);
        return command.out_ioas_id;
    }
    void destroy(std::uint32_t id) {
        uapi::Destroy command{.size = sizeof command, .id = id};
        EXPECT_EQ(context_.node()->ioctl(uapi::kDestroy, &command), 0);
    }
    // Leaves `count` objects behind so many unused ids.
    void leave_beyond(std::uint32_t unused, std::uint32_t count) {
        std::vector<std::uint32_t> ids;
        for (std::uint32_t i = 0; i < unused + count; ++i) ids.push_back(alloc());
        for (std::uint32_t i = 0; i < unused; ++i) destroy(ids[i]);
    }
    std::size_t left() { return machine_.leaks().objects; }

    model::Machine machine_;
    Context context_ = Context::open({.report = {}, .kernel = &machine_.kernel()}).value();
};

// An iommufd in which there is one object, or none (0).
class OneFarObject final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == uapi::kDestroy) {
            const std::uint32_t wanted = static_cast<uapi::Destroy*>(argument)->id;
            last_asked = std::max(last_asked, wanted);
            if (wanted != id) return -ENOENT;
            id = 0;
            return 0;
        }
        if (request == uapi::kOption && static_cast<uapi::Option*>(argument)->op == uapi::kOptionSet)
            return !may_ask ? -EPERM : id != 0 ? -EBUSY : 0;
        return FaultyKernel::ioctl(fd, request, argument);
    }
    std::uint32_t id = 0;
    bool may_ask = true;
    std::uint32_t last_asked = 0;
};

class SweepWithoutRightsTest : public SweepTest {
protected:
    SweepWithoutRightsTest() : SweepTest("devices=,sys-resource=off") {}
};

TEST_F(SweepTest, DestroysWhatIsCloseTogether) {
    leave_beyond(4000, 3);
    EXPECT_EQ(sweep(context_, Far::near), 3U);
    EXPECT_EQ(left(), 0U);
}

TEST_F(SweepTest, FindsWhatLiesBehindThousandsOfUnusedIds) {
    leave_beyond(5000, 100);
    EXPECT_EQ(sweep(context_, Far::near), 0U);
    EXPECT_EQ(left(), 100U);
    EXPECT_EQ(sweep(context_, Far::everywhere), 100U);
    EXPECT_EQ(left(), 0U);
}

TEST(SweepOfManyIds, LooksAsFarAsSomethingIsLeftAndNotBeyondWhereNothingIsOrNobodyTells) {
    model::Machine machine(model::parse("devices=").value());
    OneFarObject kernel(machine.kernel());
    const Context context = Context::open({.report = {}, .kernel = &kernel}).value();
    const auto asked = [&](std::uint32_t id, bool may_ask) {
        kernel.id = id;
        kernel.may_ask = may_ask;
        kernel.last_asked = 0;
        return sweep(context, Far::everywhere);
    };
    EXPECT_EQ(asked((1U << 18) + 10, true), 1U);
    EXPECT_EQ(asked((1U << 18) + 10, false), 0U);
    EXPECT_EQ(kernel.last_asked, 1U << 18);
    EXPECT_EQ(asked(1U << 18, false), 1U);
    EXPECT_EQ(asked(0, true), 0U);
    EXPECT_EQ(kernel.last_asked, 0U) << "it knew that nothing is left";
    EXPECT_EQ(asked((1U << 22) + 1, true), 0U);
    EXPECT_EQ(kernel.last_asked, 1U << 22);
}

TEST_F(SweepTest, LeavesTheModeOfAccountingAsItWas) {
    for (const RlimitMode mode : {RlimitMode::per_process, RlimitMode::per_user}) {
        ASSERT_TRUE(context_.set_rlimit_mode(mode));
        (void)alloc();
        EXPECT_EQ(sweep(context_, Far::everywhere), 1U);
        EXPECT_EQ(context_.rlimit_mode().value(), mode);
    }
}

TEST_F(SweepWithoutRightsTest, LooksFarAllTheSame) {
    leave_beyond(5000, 2);
    EXPECT_EQ(sweep(context_, Far::everywhere), 2U);
    EXPECT_EQ(left(), 0U);
}

}  // namespace
}  // namespace iommufd::core
