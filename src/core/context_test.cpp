// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/context.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "iommufd/core/hwpt.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::core {
namespace {

class ContextTest : public ::testing::Test {
protected:
    Context open(sys::Kernel* kernel = nullptr) {
        return Context::open(
                   {.label = "iommufd0", .report = {}, .kernel = kernel ? kernel : &machine_.kernel()})
            .value();
    }

    model::Machine machine_;
};

TEST_F(ContextTest, IsClosedWithItsHandle) {
    {
        const Context context = open();
        EXPECT_EQ(machine_.leaks().contexts, 1U);
    }
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(ContextTest, AdoptedDescriptorIsClosedOnce) {
    const int fd = machine_.kernel().open("/dev/iommu", O_RDWR);
    {
        const Context context =
            Context::from(AdoptFd{fd}, {.label = "given", .report = {}, .kernel = &machine_.kernel()})
                .value();
        EXPECT_EQ(context.fd(), fd);
    }
    EXPECT_EQ(machine_.leaks().descriptors, 0U);
}

TEST_F(ContextTest, DuplicatedDescriptorStaysTheCallers) {
    const int fd = machine_.kernel().open("/dev/iommu", O_RDWR);
    {
        const Context context =
            Context::from(DupFd{fd}, {.label = "given", .report = {}, .kernel = &machine_.kernel()}).value();
        EXPECT_NE(context.fd(), fd);
    }
    EXPECT_EQ(machine_.leaks().descriptors, 1U);
    EXPECT_EQ(machine_.kernel().close(fd), 0);
}

TEST_F(ContextTest, ADescriptorThatIsNoIommufdIsRefusedAtOnceAndAnAdoptedOneIsClosed) {
    const int fd = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const auto context = Context::from(AdoptFd{fd}, {.label = "given", .report = {}, .kernel = nullptr});
    ASSERT_FALSE(context);
    EXPECT_EQ(context.error().code(), ENOTTY);
    EXPECT_NE(context.error().what().find("is not an iommufd"), std::string_view::npos);
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST_F(ContextTest, HandlesMayGoInAnyOrder) {
    auto context = std::make_unique<Context>(open());
    auto ioas = std::make_unique<Ioas>(Ioas::alloc(*context).value());
    context.reset();
    EXPECT_EQ(machine_.leaks().contexts, 1U);
    EXPECT_TRUE(ioas->iova_ranges());
    ioas.reset();
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(ContextTest, IdsAreReusedSoALeakWouldShow) {
    const Context context = open();
    const auto first = Ioas::alloc(context).value().id();
    EXPECT_EQ(Ioas::alloc(context).value().id(), first);
}

TEST_F(ContextTest, ErrorsNameTheObjectItsLabelAndTheContext) {
    const Context context = open();
    const Ioas ioas = Ioas::alloc(context, {.label = "guest"}).value();
    const auto unmapped = ioas.unmap(Iova{0x1000}, 0x1000);
    ASSERT_FALSE(unmapped);
    EXPECT_EQ(unmapped.error().what(), "cannot unmap 0x1000+0x1000 of ioas 1 ('guest') of 'iommufd0'");
    EXPECT_EQ(unmapped.error().operation(), Operation::ioas_unmap);
    EXPECT_FALSE(unmapped.error().cause().empty());
}

TEST_F(ContextTest, MapsAndUnmapsWhatTheCallerSays) {
    const Context context = open();
    const Ioas ioas = Ioas::alloc(context).value();
    alignas(4096) static std::byte memory[8192];
    EXPECT_EQ(ioas.map(memory, sizeof memory, Access::read_write, Iova{0x100000}).value(), Iova{0x100000});
    const auto chosen = ioas.map(memory, sizeof memory, Access::read);
    ASSERT_TRUE(chosen);
    EXPECT_NE(*chosen, Iova{0x100000});
    EXPECT_EQ(ioas.unmap(Iova{0x100000}, sizeof memory).value(), sizeof memory);
    EXPECT_EQ(ioas.unmap_all().value(), sizeof memory);
}

TEST_F(ContextTest, CopySharesWhatIsMapped) {
    const Context context = open();
    const Ioas from = Ioas::alloc(context).value();
    const Ioas to = Ioas::alloc(context).value();
    alignas(4096) static std::byte memory[4096];
    ASSERT_TRUE(from.map(memory, sizeof memory, Access::read_write, Iova{0x10000}));
    EXPECT_EQ(to.copy(from, Iova{0x10000}, sizeof memory, Access::read, Iova{0x20000}).value(),
              Iova{0x20000});
    EXPECT_EQ(from.copy(to, Iova{0x30000}, sizeof memory, Access::read).error().code(), ENOENT);
}

TEST_F(ContextTest, OptionsAndTypeOneIoas) {
    const Context context = open();
    ASSERT_TRUE(context.set_rlimit_mode(RlimitMode::per_process));
    EXPECT_EQ(context.rlimit_mode().value(), RlimitMode::per_process);
    const Ioas ioas = Ioas::alloc(context).value();
    EXPECT_EQ(context.set_rlimit_mode(RlimitMode::per_user).error().code(), EBUSY);
    EXPECT_TRUE(ioas.huge_pages().value());
    ASSERT_TRUE(ioas.set_huge_pages(false));
    EXPECT_FALSE(ioas.huge_pages().value());
    EXPECT_EQ(vfio_ioas(context).error().code(), ENODEV);
    ASSERT_TRUE(set_vfio_ioas(context, ioas));
    EXPECT_EQ(vfio_ioas(context).value(), ioas.id());
    ASSERT_TRUE(clear_vfio_ioas(context));
}

TEST_F(ContextTest, AllowedIovasLimitTheKernelsChoice) {
    const Context context = open();
    const Ioas ioas = Ioas::alloc(context).value();
    const Range allowed{Iova{0x4000000}, Iova{0x4ffffff}};
    ASSERT_TRUE(ioas.allow_iovas({&allowed, 1}));
    alignas(4096) static std::byte memory[4096];
    EXPECT_TRUE(allowed.contains(ioas.map(memory, sizeof memory, Access::read).value()));
}

TEST_F(ContextTest, AFailedDestroyIsListedReportedAndRetried) {
    std::vector<std::string> reports;
    sys::FaultyKernel kernel(machine_.kernel(), {.call = 4, .error = EIO});  // open, option, alloc, destroy
    const Context context =
        Context::open({.label = "iommufd0",
                       .report = [&](const Notice& notice) { reports.push_back(notice.error.text()); },
                       .kernel = &kernel})
            .value();
    ASSERT_TRUE(context.rlimit_mode());
    {
        const Ioas ioas = Ioas::alloc(context).value();
    }
    ASSERT_TRUE(kernel.struck());
    ASSERT_EQ(reports.size(), 1U);
    const auto left = context.not_released();
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left[0].object, "ioas 1 of 'iommufd0'");
    EXPECT_EQ(left[0].code, EIO);
    EXPECT_EQ(machine_.leaks().objects, 1U);
    EXPECT_EQ(context.retry_releases(), 0U);
    EXPECT_EQ(machine_.leaks().objects, 0U);
}

TEST_F(ContextTest, ADestroyThatFailedAfterItsEffectNeverHitsTheNextOwnerOfTheId) {
    sys::FaultyKernel kernel(machine_.kernel(), {.call = 3, .error = EIO, .after_effect = true});
    const Context context = open(&kernel);
    {
        const Ioas ioas = Ioas::alloc(context).value();
    }
    ASSERT_EQ(context.not_released().size(), 1U);
    const Ioas next = Ioas::alloc(context).value();  // gets the same id, which proves that the first is gone
    EXPECT_TRUE(context.not_released().empty());
    EXPECT_EQ(context.retry_releases(), 0U);
    EXPECT_TRUE(next.iova_ranges());
}

// A kernel that lets somebody in before it answers.
class Interrupted final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;

    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == before_request)
            if (const auto interrupt = std::exchange(before, nullptr)) interrupt();
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (request == uapi::kDestroy)
            if (const auto interrupt = std::exchange(after_destroy, nullptr)) return interrupt(), -EIO;
        return result;
    }

    unsigned long before_request = 0;
    std::function<void()> before;
    std::function<void()> after_destroy;  // which then says EIO
};

TEST_F(ContextTest, NorDoesItWhenThatOwnerCameBeforeTheAnswer) {
    Interrupted kernel(machine_.kernel());
    const Context context = open(&kernel);
    std::optional<Ioas> first = Ioas::alloc(context).value();
    std::optional<Ioas> second;
    kernel.after_destroy = [&] { second = Ioas::alloc(context).value(); };  // another thread
    const IoasId id = first->id();
    EXPECT_TRUE(std::move(*first).destroy());
    ASSERT_EQ(second->id(), id);
    EXPECT_TRUE(context.not_released().empty());
    EXPECT_EQ(context.retry_releases(), 0U);
    EXPECT_TRUE(second->iova_ranges());
}

TEST_F(ContextTest, ARetryWaitsForAllocationsInFlight) {
    Interrupted kernel(machine_.kernel(), {.call = 3, .error = EIO});
    const Context context = open(&kernel);
    {
        const Ioas first = Ioas::alloc(context).value();
    }
    ASSERT_EQ(context.not_released().size(), 1U);
    std::thread retrying;
    kernel.before_request = uapi::kIoasAlloc;
    kernel.before = [&] { retrying = std::thread([&] { EXPECT_EQ(context.retry_releases(), 0U); }); };
    const Ioas other = Ioas::alloc(context).value();
    retrying.join();
    EXPECT_TRUE(context.not_released().empty());
    EXPECT_EQ(machine_.leaks().objects, 1U);
}

TEST_F(ContextTest, ADestroyThatFailedAfterItsEffectIsSettledByARetry) {
    sys::FaultyKernel kernel(machine_.kernel(), {.call = 3, .error = EIO, .after_effect = true});
    const Context context = open(&kernel);
    {
        const Ioas ioas = Ioas::alloc(context).value();
    }
    EXPECT_EQ(context.retry_releases(), 0U);
    EXPECT_TRUE(context.not_released().empty());
}

TEST_F(ContextTest, WhatWasNotReleasedIsGoneOnceTheContextCloses) {
    sys::FaultyKernel kernel(machine_.kernel(), {.call = 3, .error = EIO});
    {
        const Context context = open(&kernel);
        {
            const Ioas ioas = Ioas::alloc(context).value();
        }
        ASSERT_EQ(context.not_released().size(), 1U);
    }
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(ContextTest, AnIdOfOneKindIsNoIdOfAnother) {
    static_assert(!std::is_constructible_v<IoasId, HwptId>);
    static_assert(!std::is_convertible_v<std::uint32_t, IoasId>);
    static_assert(!std::is_convertible_v<std::uint64_t, Iova>);
    static_assert(std::is_constructible_v<PageTableId, IoasId>);
    static_assert(!std::is_constructible_v<PageTableId, DeviceId>);
}

TEST(Range, RefusesNoByteAndWrapAround) {
    EXPECT_FALSE(Range::of(Iova{0x1000}, 0));
    EXPECT_FALSE(Range::of(Iova{~0ULL}, 2));
    EXPECT_TRUE(Range::of(Iova{~0ULL}, 1));
    EXPECT_EQ(Range::of(Iova{~0ULL - 0xfff}, 0x1000)->last, Iova{~0ULL});
}

}  // namespace
}  // namespace iommufd::core
