// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/backend/backend.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "backend/state.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class BackendTest : public ::testing::Test {
protected:
    Backend make(std::variant<std::monostate, AdoptFd, DupFd> fd = {}) {
        return Backend::open({.id = "iommufd0", .fd = fd, .report = {}, .kernel = &machine_.kernel()})
            .value();
    }
    std::size_t open_contexts() { return machine_.leaks().contexts; }

    model::Machine machine_;
};

TEST_F(BackendTest, OpensTheNodeForItsFirstUserAndClosesItAfterItsLast) {
    const Backend backend = make();
    EXPECT_FALSE(backend.is_open());
    {
        const User first = backend.connect("vfio-pci a").value();
        EXPECT_TRUE(backend.is_open());
        const User second = backend.connect("vfio-pci b").value();
        EXPECT_EQ(first.context(), second.context());
        EXPECT_EQ(open_contexts(), 1U);
    }
    EXPECT_FALSE(backend.is_open());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(BackendTest, ALaterUserGetsANewContext) {
    const Backend backend = make();
    {
        const User first = backend.connect("vfio-pci a").value();
        const auto leaked = core::Ioas::alloc(*backend.context()).value().id();
        EXPECT_EQ(leaked.value, 1U);
    }
    const User second = backend.connect("vfio-pci b").value();
    EXPECT_EQ(core::Ioas::alloc(*backend.context()).value().id().value, 1U);
}

TEST_F(BackendTest, AVdpaUserIsCountedButNeverOpensTheNode) {
    Backend backend = make();
    const User user = backend.join("vhost-vdpa x").value();
    EXPECT_FALSE(backend.is_open());
    EXPECT_EQ(user.context(), nullptr);
    EXPECT_THAT(backend.users(), ElementsAre("vhost-vdpa x"));
    EXPECT_EQ(std::move(backend).destroy().error().code(), EBUSY);
}

TEST_F(BackendTest, AGivenDescriptorIsKeptUntilTheObjectIsDeletedAndClosedOnce) {
    const int fd = machine_.kernel().open("/dev/iommu", O_RDWR);
    Backend backend = make(AdoptFd{fd});
    {
        const User user = backend.connect("vfio-pci a").value();
    }
    EXPECT_TRUE(backend.is_open());
    EXPECT_EQ(backend.context()->fd(), fd);
    EXPECT_TRUE(std::move(backend).destroy());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(BackendTest, AGivenDescriptorIsCheckedWhenItIsGiven) {
    const auto backend =
        Backend::open({.fd = AdoptFd{::open("/", O_RDONLY | O_DIRECTORY)}, .report = {}, .kernel = nullptr});
    ASSERT_FALSE(backend);
    EXPECT_THAT(backend.error().line(), HasSubstr("is not an iommufd"));
}

TEST_F(BackendTest, DeletionIsRefusedAndNamesTheUsersAndTheReferences) {
    Backend backend = make();
    auto user = std::make_unique<User>(backend.connect("vfio-pci 0000:02:00.0").value());
    auto reference = std::make_unique<Reference>(backend.refer("dma-space 'dma0'").value());
    auto deleted = std::move(backend).destroy();
    ASSERT_FALSE(deleted);
    EXPECT_EQ(deleted.error().code(), EBUSY);
    EXPECT_THAT(deleted.error().line(), HasSubstr("it is used by vfio-pci 0000:02:00.0, dma-space 'dma0'"));
    user.reset();
    EXPECT_FALSE(std::move(backend).destroy());  // NOLINT(bugprone-use-after-move)
    reference.reset();
    EXPECT_TRUE(std::move(backend).destroy());  // NOLINT(bugprone-use-after-move)
}

TEST_F(BackendTest, LettingGoOfTheObjectLeavesItsUsersWhatTheyUse) {
    auto backend = std::make_unique<Backend>(make());
    auto user = std::make_unique<User>(backend->connect("vfio-pci a").value());
    backend.reset();
    EXPECT_EQ(open_contexts(), 1U);
    user.reset();
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(BackendTest, AFailedOpenLeavesNoUser) {
    sys::FaultyKernel kernel(machine_.kernel(), {.call = 1, .error = EACCES});
    const Backend backend = Backend::on(kernel).value();
    const auto user = backend.connect("vfio-pci a");
    ASSERT_FALSE(user);
    EXPECT_EQ(user.error().code(), EACCES);
    EXPECT_THAT(user.error().line(), HasSubstr("cannot open /dev/iommu"));
    EXPECT_TRUE(backend.users().empty());
    EXPECT_TRUE(backend.connect("vfio-pci a"));
}

TEST_F(BackendTest, AContextThatItOpensAccountsPerProcessWhereThatIsPermitted) {
    const Backend backend = make();
    const User user = backend.connect("vfio-pci a").value();
    EXPECT_EQ(backend.context()->rlimit_mode().value(), core::RlimitMode::per_process);
}

TEST_F(BackendTest, AGivenContextKeepsItsAccounting) {
    const Backend backend = make(AdoptFd{machine_.kernel().open("/dev/iommu", O_RDWR)});
    const User user = backend.connect("vfio-pci a").value();
    EXPECT_EQ(backend.context()->rlimit_mode().value(), core::RlimitMode::per_user);
}

TEST_F(BackendTest, WithoutThePermissionTheKernelsAccountingStaysAndIsTold) {
    model::Description description = model::everything();
    description.sys_resource = false;
    model::Machine machine(description);
    const Backend backend = Backend::on(machine.kernel()).value();
    const User user = backend.connect("vfio-pci a").value();
    EXPECT_EQ(backend.context()->rlimit_mode().value(), core::RlimitMode::per_user);
}

TEST_F(BackendTest, TwoObjectsOfOneOpenFileShareAContextAndOthersDont) {
    const Backend first = make(AdoptFd{machine_.kernel().open("/dev/iommu", O_RDWR)});
    const Backend same = make(DupFd{first.context()->fd()});
    const Backend other = make(AdoptFd{machine_.kernel().open("/dev/iommu", O_RDWR)});
    EXPECT_TRUE(first.shares_context_with(same));
    EXPECT_FALSE(first.shares_context_with(other));
    EXPECT_FALSE(first.shares_context_with(make()));
}

TEST_F(BackendTest, CapabilitiesAreFoundByAskingAndChangeNothing) {
    const Backend backend = make();
    const Capabilities capabilities = backend.capabilities().value();
    EXPECT_TRUE(capabilities.has(Operation::ioas_map));
    EXPECT_TRUE(capabilities.has(Operation::hwpt_alloc));
    EXPECT_FALSE(backend.is_open());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

// A kernel without one command.
class WithoutMapFile final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int ioctl(int fd, unsigned long request, void* argument) override {
        return request == 0x3b8f ? -ENOTTY : FaultyKernel::ioctl(fd, request, argument);
    }
};

TEST_F(BackendTest, AnAbsentIoctlIsAnErrorThatNamesTheFirstKernelWithIt) {
    WithoutMapFile kernel(machine_.kernel());
    const Capabilities capabilities = Backend::on(kernel).value().capabilities().value();
    EXPECT_FALSE(capabilities.has(Operation::ioas_map_file));
    const auto required = capabilities.require(Operation::ioas_map_file);
    ASSERT_FALSE(required);
    EXPECT_EQ(required.error().code(), ENOTTY);
    EXPECT_THAT(required.error().line(), HasSubstr("6.13"));
    EXPECT_TRUE(capabilities.require(Operation::ioas_map));
}

TEST_F(BackendTest, ConnectingAndDeletingAtOnceEndsWithOneOfTheTwo) {
    for (int round = 0; round < 300; ++round) {
        Backend backend = make();
        const auto state = backend.state();  // what a second thread's handle would hold
        std::optional<Result<User>> user;
        std::thread connecting([&] { user.emplace(state->connect("vfio-pci a")); });
        const bool deleted = static_cast<bool>(std::move(backend).destroy());
        connecting.join();
        EXPECT_NE(deleted, static_cast<bool>(*user));
        if (deleted) {
            EXPECT_EQ(user->error().code(), ESHUTDOWN);
        }
        user.reset();
    }
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(BackendTest, ManyThreadsShareOneContextAndTheLastClosesIt) {
    const Backend backend = make();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 300; ++round) {
                const User user = backend.connect("vfio-pci a").value();
                EXPECT_NE(user.context(), nullptr);
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(backend.is_open());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

}  // namespace
}  // namespace iommufd
