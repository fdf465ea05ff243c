// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/guest_device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "error/guarded.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/viommu/batch.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "support/allocation_faults.hpp"
#include "support/fake_sink.hpp"
#include "support/raw_device.hpp"
#include "viommu/testing.hpp"

namespace iommufd::viommu {
namespace {

using support::RawDevice;
using ::testing::ElementsAre;
using testing::Entry;
using testing::GuestKernel;
using testing::Table;

constexpr std::uint32_t kParent = uapi::kHwptNestParent;
constexpr std::uint32_t kDirty = uapi::kHwptDirtyTracking;
constexpr std::uint32_t kPasids = uapi::kHwptPasid;

class GuestDeviceTest : public ::testing::Test {
protected:
    Result<dma::Attachment> join() { return space_.attach(guest_); }

    model::Machine machine_{model::parse("devices=edu,edu").value()};
    GuestKernel kernel_{machine_.kernel()};
    Backend backend_ = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel_}).value();
    dma::Space space_ = dma::Space::on(backend_, {.id = "dma0"}).value();
    std::shared_ptr<RawDevice> device_ = RawDevice::bind(backend_);
    GuestDevice guest_ = GuestDevice::of(device_).value();
};

TEST_F(GuestDeviceTest, NothingCanBeInstalledBeforeTheDeviceIsInASpaceOrAfterIt) {
    const auto refused = guest_.install(Table{1});
    EXPECT_EQ(refused.error().text(),
              "cannot install a guest's table for raw /dev/vfio/devices/vfio0: ENODEV\n"
              "  the device is in no space\n"
              "  attach this GuestDevice to a space first");
    EXPECT_EQ(guest_.translation(), Translation::none);
    {
        const auto joined = join().value();
        EXPECT_EQ(guest_.translation(), Translation::bypass);
        EXPECT_TRUE(guest_.install(Table{1}));
        EXPECT_EQ(guest_.translation(), Translation::nested);
    }
    EXPECT_EQ(guest_.translation(), Translation::none);
    EXPECT_EQ(guest_.bypass().error().code(), ENODEV);
    EXPECT_EQ(guest_.block().error().code(), ENODEV);
    EXPECT_EQ(guest_.viommu({.type = 1}).error().code(), ENODEV);
}

TEST_F(GuestDeviceTest, AParentHasWhatTheIommuGivesBesideNesting) {
    kernel_.pasid_bits = 4;
    kernel_.dirty_tracking = true;
    {
        const auto joined = join().value();
        EXPECT_THAT(kernel_.flags, ElementsAre(kParent | kDirty | kPasids));
        // So that a PASID can have a table beside it.
        EXPECT_TRUE(guest_.install(Table{1}));
        EXPECT_EQ(kernel_.flags.back(), kPasids);
    }
    const std::pair<std::uint32_t, std::uint32_t> cases[] = {
        {kDirty, kParent | kPasids}, {kPasids, kParent | kDirty}, {kDirty | kPasids, kParent}};
    for (const auto& [refused, given] : cases) {
        kernel_.refused_in_parents = refused;
        const auto joined = join().value();
        EXPECT_EQ(kernel_.flags.back(), given);
    }
}

TEST_F(GuestDeviceTest, TablesThatHoldTheirPasidsThemselvesGetNoFlagForThem) {
    kernel_.pasid_bits = 4;
    kernel_.refused_in_tables = kPasids;
    const auto joined = join().value();
    EXPECT_TRUE(guest_.install(Table{1}));
    EXPECT_TRUE(guest_.install(Table{2}));
    EXPECT_THAT(kernel_.flags, ElementsAre(kParent | kPasids, 0U, 0U));
}

TEST_F(GuestDeviceTest, WhereTheIommuCannotNestTheSpaceRefusesTheDevice) {
    kernel_.nests = false;
    const auto refused = join();
    EXPECT_EQ(refused.error().code(), EOPNOTSUPP);
    EXPECT_EQ(refused.error().cause(),
              "this IOMMU, or its driver, can't nest a guest's tables in a page table");
    EXPECT_TRUE(space_.devices().empty());
    kernel_.nests = true;
    EXPECT_TRUE(join());
}

TEST_F(GuestDeviceTest, AnotherDeviceMayShareTheParentAndTheDeviceNotAPlainTable) {
    const auto other = RawDevice::bind(backend_, "/dev/vfio/devices/vfio1");
    const auto plain = space_.attach(other).value();
    const auto joined = join().value();
    EXPECT_THAT(kernel_.flags, ElementsAre(0U, kParent));
}

TEST_F(GuestDeviceTest, ATableThatIsRefusedLeavesTheOldOneAndIsFreed) {
    const auto joined = join().value();
    ASSERT_TRUE(guest_.install(Table{1}));
    const auto objects = machine_.leaks().objects;
    kernel_.fail_attach = EBUSY;
    EXPECT_EQ(guest_.install(Table{2}).error().code(), EBUSY);
    EXPECT_EQ(guest_.translation(), Translation::nested);
    EXPECT_EQ(machine_.leaks().objects, objects);
    kernel_.fail_attach = EBUSY;
    EXPECT_EQ(guest_.bypass().error().code(), EBUSY);
    EXPECT_EQ(guest_.translation(), Translation::nested);
    ASSERT_TRUE(guest_.bypass());
    EXPECT_EQ(machine_.leaks().objects, objects - 1);
}

TEST_F(GuestDeviceTest, WithoutATableThereIsNothingToInvalidate) {
    const auto joined = join().value();
    Batch<Entry> batch;
    ASSERT_TRUE(batch.add({1}));
    EXPECT_EQ(batch.flush(guest_).error().code(), ENOENT);
    ASSERT_TRUE(guest_.install(Table{1}));
    EXPECT_TRUE(batch.flush(guest_));
    EXPECT_THAT(kernel_.invalidated, ElementsAre(1U));
    EXPECT_EQ(guest_.remove(5).error().code(), ENOENT);
}

TEST_F(GuestDeviceTest, AFrontendWithoutPasidsSaysSo) {
    const auto joined = join().value();
    const auto refused = guest_.install(Table{1}, {.pasid = 5});
    EXPECT_EQ(refused.error().code(), EOPNOTSUPP);
    EXPECT_EQ(refused.error().cause(), "this frontend has no PASIDs");
    EXPECT_EQ(guest_.translation(), Translation::bypass);
}

TEST_F(GuestDeviceTest, OnlyADeviceThatAnIommuTranslatesForAndNobodyHasIsGivenToAGuest) {
    EXPECT_EQ(GuestDevice::of(std::make_shared<support::FakeSink>("vdpa")).error().code(), EINVAL);
    EXPECT_EQ(GuestDevice::of(device_).error().code(), EBUSY);
    EXPECT_EQ(space_.attach(device_).error().code(), EBUSY);
    const auto joined = join().value();
    guest_ = GuestDevice::of(RawDevice::bind(backend_, "/dev/vfio/devices/vfio1")).value();
    EXPECT_EQ(GuestDevice::of(device_).error().code(), EBUSY) << "the space still has it";
}

TEST_F(GuestDeviceTest, ADeviceIsFreeAgainWhenItsGuestIsGone) {
    {
        const auto joined = join().value();
        guest_ = GuestDevice::of(RawDevice::bind(backend_, "/dev/vfio/devices/vfio1")).value();
    }
    EXPECT_TRUE(space_.attach(device_));
}

TEST_F(GuestDeviceTest, TheSpaceMayDetachTheDeviceWhileTheGuestChangesItsTables) {
    std::atomic<bool> stop = false;
    std::thread changes([&] {
        for (std::uint32_t root = 0; !stop; ++root) {
            const auto installed = guest_.install(Table{root});
            if (!installed) EXPECT_EQ(installed.error().code(), ENODEV);
            if (root % 3 == 0) (void)guest_.bypass();
            if (root % 5 == 0) (void)guest_.block();
        }
    });
    std::thread invalidates([&] {
        Batch<Entry> batch;
        while (!stop) {
            (void)batch.add({1});
            if (const auto flushed = batch.flush(guest_); !flushed) EXPECT_EQ(flushed.error().code(), ENOENT);
            batch.clear();
        }
    });
    for (int i = 0; i < 200; ++i) {
        const auto joined = join();
        EXPECT_TRUE(joined) << joined.error().text();
        std::this_thread::yield();
    }
    stop = true;
    changes.join();
    invalidates.join();
    EXPECT_EQ(guest_.translation(), Translation::none);
    EXPECT_EQ(backend_.context()->notices(), 0U);
    EXPECT_TRUE(space_.not_released().empty());
}

// All that a guest does. Stops at the first error, and lets everything go.
Result<void> live(sys::Kernel& outer, GuestKernel& kernel) {
    auto backend = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &outer});
    if (!backend) return backend.error();
    auto memory = dma::Memory::memfd(64_KiB, {.label = "ram", .huge_page_size = 0, .kernel = &outer});
    if (!memory) return memory.error();
    auto space = dma::Space::on(*backend, {.id = "dma0"});
    if (!space) return space.error();
    auto mapped = space->map(*memory, {.iova = Iova{0x4000000}});
    if (!mapped) return mapped.error();
    auto device = RawDevice::bind_or_error(*backend, "/dev/vfio/devices/vfio0", 64);
    if (!device) return device.error();
    auto guest = GuestDevice::of(*device);
    if (!guest) return guest.error();
    auto joined = space->attach(*guest);
    if (!joined) return joined.error();
    auto requests = PageRequests::alloc(core::Context((*device)->context()), {.room = 2});
    if (!requests) return requests.error();
    for (std::uint32_t root = 0; root < 2; ++root)
        if (auto installed = guest->install(Table{root}, {.fault_queue = &requests->queue()}); !installed)
            return installed;
    kernel.request(1, {1, 2, 3});
    kernel.request(1, {4});
    for (int i = 0; i < 2; ++i) {
        auto groups = requests->read();
        if (!groups) return groups.error();
        if (groups->empty()) continue;
        if (auto answered = requests->answer({groups->data(), 1}, core::Response::success); !answered)
            return answered.error();
    }
    Batch<Entry> batch;
    (void)batch.add({1});
    if (auto flushed = batch.flush(*guest); !flushed) return flushed;
    if (auto bypassed = guest->bypass(); !bypassed) return bypassed;
    if (auto blocked = guest->block(); !blocked) return blocked;
    if (auto installed = guest->install(Table{3}); !installed) return installed;
    if (auto gone = std::move(*joined).detach(); !gone) return gone;
    return std::move(*requests).destroy();
}

class GuestSystemCallFaultsTest : public ::testing::TestWithParam<bool> {};

TEST_P(GuestSystemCallFaultsTest, NothingIsLeftWhicheverSystemCallFails) {
    std::uint64_t n = 1;
    for (;; ++n) {
        model::Machine machine;
        GuestKernel inner(machine.kernel());
        sys::FaultyKernel kernel(inner, {.call = n, .error = EIO, .after_effect = GetParam()});
        (void)live(kernel, inner);
        ASSERT_FALSE(machine.leaks().any()) << "call " << n << " failed, and left " << machine.leaks().text();
        if (!kernel.struck()) break;
    }
    EXPECT_GT(n, 30U);
}

INSTANTIATE_TEST_SUITE_P(Releasing, GuestSystemCallFaultsTest, ::testing::Values(false, true),
                         [](const auto& of) { return of.param ? "FailsAfterItsEffect" : "FailsBefore"; });

TEST(GuestFaultsTest, NothingIsLeftWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        int code = 0;
        const std::int64_t before = AllocationFaults::live();
        std::optional<std::string> leaks;
        {
            model::Machine machine;
            GuestKernel kernel(machine.kernel());
            {
                const AllocationFaults::Armed armed(n);
                if (const auto result = live(kernel, kernel); !result) code = result.error().code();
                struck = armed.struck();
            }
            if (machine.leaks().any()) leaks = machine.leaks().text();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << "allocation " << n << " gave " << errno_name(code);
        ASSERT_FALSE(leaks) << "allocation " << n << " left " << *leaks;
        ASSERT_EQ(AllocationFaults::live(), before) << "allocation " << n << " left memory behind";
    }
    EXPECT_GT(n, 40U);
}

}  // namespace
}  // namespace iommufd::viommu
