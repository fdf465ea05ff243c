// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Nested translation, page requests and events on the real kernel, with its own mock of a device and the mock's format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>

#include "iommufd/dma/space.hpp"
#include "iommufd/viommu/batch.hpp"
#include "iommufd/viommu/events.hpp"
#include "iommufd/viommu/guest_device.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "kernel/mock_attachable.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::kernel_tests {
namespace {

namespace mock = uapi::mock;
using core::Response;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using viommu::Batch;
using viommu::GuestDevice;
using viommu::Translation;

constexpr Iova kBase{0x10000000};  // the mock's IOVAs start at 16 MiB
constexpr std::uint32_t kStream = 0x99;
constexpr std::uint32_t kPasid = 100;

// The mock's format.
struct Table {
    static constexpr std::uint32_t kType = mock::kHwptDataSelftest;
    std::uint32_t iotlb = mock::kIotlbDefault;
    std::uint32_t pagetable_type = 0;
};
struct TableInvalidation {
    static constexpr std::uint32_t kType = mock::kHwptInvalidateSelftest;
    std::uint32_t flags;
    std::uint32_t iotlb_id;
};
struct Command {
    static constexpr std::uint32_t kType = mock::kViommuInvalidateSelftest;
    std::uint32_t flags;
    std::uint32_t stream;
    std::uint32_t cache_id;
};
struct MockEvent {
    static constexpr std::uint32_t kType = mock::kVeventqSelftest;
    std::uint32_t stream;
};
struct ForeignTable {
    static constexpr std::uint32_t kType = uapi::kHwptDataVtdS1;
    std::uint64_t words[3];
};

// The machine's kernel, with the order of what changes page tables written down.
class Journal final : public sys::FaultyKernel {
public:
    Journal() : FaultyKernel(static_cast<sys::Kernel&>(Recorder::instance())) {}
    int ioctl(int fd, unsigned long request, void* argument) override {
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (result < 0) return result;
        if (request == uapi::kHwptAlloc)
            entries.push_back("alloc " +
                              std::to_string(static_cast<uapi::HwptAlloc*>(argument)->out_hwpt_id));
        if (request == uapi::kDestroy)
            entries.push_back("destroy " + std::to_string(static_cast<uapi::Destroy*>(argument)->id));
        if (request == mock::kTest) {
            const auto& command = *static_cast<mock::TestCmd*>(argument);
            if (command.op == mock::kMockDomainReplace)
                entries.push_back("attach " + std::to_string(command.mock_domain_replace.pt_id));
        }
        return result;
    }
    std::vector<std::string> entries;
};

class GuestTest : public ::testing::Test {
protected:
    void SetUp() override {
        backend_.emplace(
            Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel_}).value());
        user_.emplace(backend_->connect("test").value());
        device_ = std::make_shared<MockAttachable>(*backend_, mock::kDevicePasid);
        guest_.emplace(GuestDevice::of(device_).value());
        space_.emplace(dma::Space::on(*backend_, {.id = "guest"}).value());
        mapping_.emplace(space_->map(memory_, {.iova = kBase}).value());
        joined_.emplace(space_->attach(*guest_).value());
        parent_ = device_->attached;
    }

    // Nothing may be left: the kernel gives out the lowest free id.
    void TearDown() override {
        mapping_.reset();
        joined_.reset();
        space_.reset();
        guest_.reset();
        device_.reset();
        const core::Context context = this->context();
        EXPECT_EQ(core::Ioas::alloc(context).value().id().value, 1U) << "an object was left";
        EXPECT_EQ(context.notices(), 0U);
        EXPECT_THAT(context.not_released(), IsEmpty());
    }

    core::Context context() const { return core::Context(user_->context()); }
    int iotlb(HwptId table, std::uint32_t place, std::uint32_t value) const {
        return check_iotlb(context(), table, place, value);
    }
    int map(HwptId table) const { return check_map(context(), table, kBase, 64_KiB, memory_.data()); }
    void fault(std::uint64_t page) const {
        ASSERT_EQ(device_->mock().fault(kBase.value + page * 4096, 0, ++requests_), 0);
    }
    static void wait_for(int fd) {
        pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&waiting, 1, 10000), 1);
    }
    // The kernel delivers each fault by a worker of its own.
    static std::vector<viommu::Group> read(const viommu::PageRequests& requests, std::size_t count) {
        std::vector<viommu::Group> groups;
        while (groups.size() < count) {
            wait_for(requests.fd());
            auto more = requests.read().value();
            std::ranges::move(more, std::back_inserter(groups));
        }
        return groups;
    }

    Journal kernel_;
    dma::Memory memory_ = dma::Memory::memfd(64_KiB, {.label = "ram", .prealloc = true}).value();
    std::optional<Backend> backend_;
    std::optional<User> user_;
    std::shared_ptr<MockAttachable> device_;
    std::optional<GuestDevice> guest_;
    std::optional<dma::Space> space_;
    std::optional<dma::Mapping> mapping_;
    std::optional<dma::Attachment> joined_;
    HwptId parent_;
    mutable std::uint32_t requests_ = 0;
};

TEST_F(GuestTest, ADeviceStartsInBypassOnAPageTableThatFollowsItsSpace) {
    EXPECT_EQ(guest_->translation(), Translation::bypass);
    EXPECT_EQ(map(parent_), 0);
    ASSERT_TRUE(guest_->install(Table{}));
    ASSERT_TRUE(std::move(*mapping_).unmap());
    EXPECT_EQ(map(parent_), -EINVAL) << "the space unmaps below the guest's table";
    mapping_.emplace(space_->map(memory_, {.iova = kBase}).value());
    EXPECT_EQ(map(parent_), 0);
}

TEST_F(GuestTest, ATableIsAttachedBeforeTheOldOneIsFreed) {
    ASSERT_TRUE(guest_->install(Table{.iotlb = 1}));
    const HwptId first = device_->attached;
    EXPECT_EQ(guest_->translation(), Translation::nested);
    EXPECT_EQ(iotlb(first, 0, 1), 0);
    kernel_.entries.clear();
    ASSERT_TRUE(guest_->install(Table{.iotlb = 2}));
    const HwptId second = device_->attached;
    EXPECT_EQ(iotlb(second, 0, 2), 0);
    const auto number = [](HwptId id) { return std::to_string(id.value); };
    EXPECT_THAT(kernel_.entries, ElementsAre("alloc " + number(second), "attach " + number(second),
                                             "destroy " + number(first)));

    ASSERT_TRUE(guest_->bypass());
    EXPECT_EQ(guest_->translation(), Translation::bypass);
    EXPECT_EQ(device_->attached, parent_);
    EXPECT_EQ(kernel_.entries.back(), "destroy " + number(second));
    ASSERT_TRUE(guest_->block());
    EXPECT_EQ(guest_->translation(), Translation::blocked);
    EXPECT_FALSE(device_->attached);
    ASSERT_TRUE(guest_->install(Table{}));
    EXPECT_EQ(guest_->translation(), Translation::nested);
}

TEST_F(GuestTest, WhatTheKernelRefusesLeavesTheOldTableAttached) {
    ASSERT_TRUE(guest_->install(Table{}));
    const HwptId old = device_->attached;

    const auto foreign = guest_->install(ForeignTable{});
    EXPECT_EQ(foreign.error().code(), EOPNOTSUPP);
    EXPECT_THAT(foreign.error().what(), HasSubstr("cannot install a guest's table for mock"));
    // A table of a viommu in which the device has no number is made, and refused when it is attached.
    const core::Viommu slice = guest_->viommu({.label = "smmu0", .type = mock::kViommuSelftest}).value();
    kernel_.entries.clear();
    EXPECT_EQ(guest_->install(Table{}, {.viommu = &slice}).error().code(), ENOENT);
    EXPECT_THAT(kernel_.entries, SizeIs(2)) << "the new table is made and destroyed";

    EXPECT_EQ(device_->attached, old);
    EXPECT_EQ(guest_->translation(), Translation::nested);
    Batch<TableInvalidation> batch;
    ASSERT_TRUE(batch.add({.flags = 0, .iotlb_id = 3}));
    ASSERT_TRUE(batch.flush(*guest_));
    EXPECT_EQ(iotlb(old, 3, 0), 0);
    uapi::Destroy in_use{.size = sizeof in_use, .id = old.value};
    EXPECT_EQ(user_->context()->ioctl(uapi::kDestroy, &in_use), -EBUSY)
        << "the device is still attached to it";
}

TEST_F(GuestTest, APasidHasItsOwnTableAndKeepsItWhenAnotherIsRefused) {
    ASSERT_TRUE(guest_->install(Table{}));
    const auto install = [&](std::uint32_t pasid, std::uint32_t iotlb) {
        return guest_->install(Table{.iotlb = iotlb}, {.pasid = pasid});
    };
    ASSERT_TRUE(install(kPasid, 5));
    kernel_.entries.clear();
    ASSERT_TRUE(install(kPasid, 6));
    ASSERT_THAT(kernel_.entries, SizeIs(2));
    EXPECT_THAT(kernel_.entries[1], HasSubstr("destroy"));

    // The mock refuses the second table of this PASID, and takes the third.
    kernel_.entries.clear();
    ASSERT_TRUE(install(mock::kPasidReserved, 7));
    const HwptId kept{static_cast<std::uint32_t>(std::stoul(kernel_.entries[0].substr(6)))};
    EXPECT_EQ(install(mock::kPasidReserved, 8).error().code(), ENOMEM);
    EXPECT_EQ(device_->mock().check_pasid(mock::kPasidReserved, kept), 0);
    EXPECT_EQ(iotlb(kept, 0, 7), 0);

    Batch<TableInvalidation> batch;
    ASSERT_TRUE(batch.add({.flags = mock::kInvalidateAll, .iotlb_id = 0}));
    ASSERT_TRUE(batch.flush(*guest_, mock::kPasidReserved));
    EXPECT_EQ(iotlb(kept, 0, 0), 0);
    EXPECT_EQ(iotlb(device_->attached, 0, mock::kIotlbDefault), 0) << "the device's own is another";

    ASSERT_TRUE(guest_->remove(kPasid));
    EXPECT_EQ(guest_->remove(kPasid).error().code(), ENOENT);
    EXPECT_EQ(device_->mock().check_pasid(kPasid, HwptId{}), 0);
    EXPECT_THAT(device_->pasids, ElementsAre(mock::kPasidReserved));
}

TEST_F(GuestTest, ABatchIsOneCallAndStopsAtTheEntryThatIsRefused) {
    ASSERT_TRUE(guest_->install(Table{}));
    const HwptId table = device_->attached;
    Batch<TableInvalidation> batch;
    for (const std::uint32_t place : {0U, 77U, 2U}) ASSERT_TRUE(batch.add({.flags = 0, .iotlb_id = place}));
    const auto flushed = batch.flush(*guest_);
    EXPECT_EQ(flushed.error().code(), EINVAL);
    EXPECT_EQ(batch.done(), 1U);
    ASSERT_THAT(batch.entries(), SizeIs(2));
    EXPECT_EQ(batch.entries()[batch.bad()].iotlb_id, 77U);
    EXPECT_EQ(iotlb(table, 0, 0), 0);
    EXPECT_EQ(iotlb(table, 2, mock::kIotlbDefault), 0) << "what comes after it is not done";
    batch.skip();
    ASSERT_TRUE(batch.flush(*guest_));
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(iotlb(table, 2, 0), 0);
    EXPECT_EQ(iotlb(table, 1, mock::kIotlbDefault), 0);
    EXPECT_TRUE(batch.flush(*guest_));
}

TEST_F(GuestTest, AViommuTakesItsGuestsCommandsByTheGuestsNumbers) {
    const core::Viommu slice = guest_->viommu({.label = "smmu0", .type = mock::kViommuSelftest}).value();
    const core::Vdevice vdevice = guest_->vdevice(slice, kStream).value();
    ASSERT_TRUE(guest_->install(Table{}, {.viommu = &slice}));
    Batch<Command> batch;
    for (const std::uint32_t stream : {kStream, kStream + 1})
        ASSERT_TRUE(batch.add({.flags = 0, .stream = stream, .cache_id = 1}));
    EXPECT_EQ(batch.flush(slice).error().code(), EINVAL);
    EXPECT_EQ(batch.done(), 1U);
    EXPECT_EQ(device_->mock().check_cache(1, 0), 0);
    EXPECT_EQ(device_->mock().check_cache(0, mock::kDevCacheDefault), 0);
    batch.skip();
    EXPECT_TRUE(batch.empty());
}

TEST_F(GuestTest, AViommuThatOutlivesItsDevicesStandsOnAnEmptyIoas) {
    std::optional<core::Viommu> slice = guest_->viommu({.type = mock::kViommuSelftest}).value();
    ASSERT_TRUE(guest_->install(Table{}));
    ASSERT_TRUE(std::move(*joined_).detach());
    joined_.reset();
    EXPECT_EQ(guest_->translation(), Translation::none);
    EXPECT_EQ(map(parent_), -EINVAL) << "nothing is pinned for it";
    EXPECT_EQ(guest_->install(Table{}).error().code(), ENODEV);
    EXPECT_EQ(guest_->bypass().error().code(), ENODEV);

    joined_.emplace(space_->attach(*guest_).value());
    EXPECT_EQ(map(device_->attached), 0);
    const auto stale = guest_->install(Table{}, {.viommu = &*slice});
    EXPECT_EQ(stale.error().code(), EXDEV);
    EXPECT_THAT(stale.error().cause(), HasSubstr("doesn't stand on"));
    EXPECT_EQ(guest_->translation(), Translation::bypass);
}

TEST_F(GuestTest, PageRequestsAreAnsweredOnceAndOneThatIsDroppedToo) {
    const auto requests = viommu::PageRequests::alloc(context(), {.label = "faults"}).value();
    ASSERT_TRUE(guest_->install(Table{}, {.fault_queue = &requests.queue()}));
    EXPECT_THAT(requests.read().value(), IsEmpty());  // never blocks
    for (std::uint64_t page = 0; page < 4; ++page) fault(page);
    auto groups = read(requests, 4);
    EXPECT_THAT(requests.unanswered(), SizeIs(4));
    EXPECT_EQ(groups[0].faults().front().address, kBase.value);
    EXPECT_EQ(groups[0].device(), guest_->id());
    EXPECT_FALSE(groups[0].pasid());

    EXPECT_TRUE(std::move(groups[0]).answer(Response::success).value());
    EXPECT_FALSE(std::move(groups[0]).answer(Response::success).value()) << "once";
    EXPECT_EQ(requests.answer(std::span(groups).subspan(1, 2), Response::success).value(), 2U);
    ASSERT_THAT(requests.unanswered(), SizeIs(1));
    const std::uint32_t dropped = requests.unanswered()[0].cookie;
    groups.clear();
    EXPECT_THAT(requests.unanswered(), IsEmpty());
    EXPECT_EQ(requests.queue().respond(dropped, Response::success).error().code(), EINVAL)
        << "it was answered";
}

TEST_F(GuestTest, ADeviceOfASpaceAsksItsQueueForPagesAndOneWithoutAQueueHasATableOfItsOwn) {
    const auto requests = viommu::PageRequests::alloc(context(), {.label = "faults"}).value();
    const auto space = dma::Space::on(*backend_, {.id = "space"}).value();
    const auto asking = std::make_shared<MockAttachable>(*backend_, mock::kDevicePasid);
    const auto quiet = std::make_shared<MockAttachable>(*backend_, mock::kDevicePasid);
    auto first = space.attach(asking, {.fault_queue = &requests.queue()}).value();
    auto second = space.attach(quiet).value();
    EXPECT_NE(asking->attached, quiet->attached);
    const auto mapping = space.map(memory_, {.iova = kBase}).value();
    EXPECT_EQ(map(asking->attached), 0);
    EXPECT_EQ(map(quiet->attached), 0);

    ASSERT_EQ(quiet->mock().fault(kBase.value, 0, 1), 0);
    ASSERT_EQ(asking->mock().fault(kBase.value + 4096, 0, 2), 0);
    auto groups = read(requests, 1);
    ASSERT_THAT(groups, SizeIs(1));
    EXPECT_EQ(groups[0].device(), asking->id());
    EXPECT_EQ(groups[0].faults().front().address, kBase.value + 4096);
    EXPECT_EQ(requests.answer(groups, Response::invalid).value(), 1U);
    ASSERT_TRUE(std::move(first).detach());
    ASSERT_TRUE(std::move(second).detach());
}

TEST_F(GuestTest, AnAnswerThatComesTooLateIsNotAnotherGroupsThoughTheirNumbersAreTheSame) {
    const auto requests = viommu::PageRequests::alloc(context()).value();
    ASSERT_TRUE(guest_->install(Table{}, {.fault_queue = &requests.queue()}));
    fault(1);
    auto old = read(requests, 1);
    // The kernel answers what waits when the table goes.
    ASSERT_TRUE(guest_->install(Table{}, {.fault_queue = &requests.queue()}));
    EXPECT_THAT(requests.unanswered(), SizeIs(1));
    fault(2);
    auto young = read(requests, 1);
    ASSERT_EQ(young[0].cookie(), old[0].cookie());
    EXPECT_FALSE(std::move(old[0]).answer(Response::success).value());
    EXPECT_THAT(requests.unanswered(), SizeIs(1)) << "the young one still waits";
    EXPECT_TRUE(std::move(young[0]).answer(Response::success).value());
}

TEST_F(GuestTest, GroupsThatTheKernelHasAnsweredItselfAreToldFromTheOthers) {
    const auto requests = viommu::PageRequests::alloc(context()).value();
    ASSERT_TRUE(guest_->install(Table{}, {.fault_queue = &requests.queue()}));
    for (std::uint64_t page = 0; page < 3; ++page) fault(page);
    auto groups = read(requests, 3);
    ASSERT_TRUE(guest_->bypass());
    EXPECT_EQ(requests.answer(groups, Response::success).value(), 0U);
    EXPECT_THAT(requests.unanswered(), IsEmpty());
}

TEST_F(GuestTest, AQueueOfPageRequestsStaysWhileSomethingNeedsIt) {
    auto requests = viommu::PageRequests::alloc(context()).value();
    ASSERT_TRUE(guest_->install(Table{}, {.fault_queue = &requests.queue()}));
    fault(1);
    {
        const auto groups = read(requests, 1);
        const auto busy = std::move(requests).destroy();
        EXPECT_EQ(busy.error().code(), EBUSY);
        EXPECT_EQ(busy.error().cause(), "1 group of page requests waits for an answer");
    }
    EXPECT_EQ(std::move(requests).destroy().error().code(), EBUSY) << "the table sends its faults there";
    ASSERT_TRUE(guest_->bypass());
    EXPECT_TRUE(std::move(requests).destroy());
}

TEST_F(GuestTest, EventsAreReadInTheirOrderAndEachLossIsCounted) {
    const core::Viommu slice = guest_->viommu({.type = mock::kViommuSelftest}).value();
    const core::Vdevice vdevice = guest_->vdevice(slice, kStream).value();
    ASSERT_TRUE(guest_->install(Table{}, {.viommu = &slice}));
    auto events = viommu::Events<MockEvent>::alloc(context(), slice, 2).value();
    EXPECT_FALSE(events.read().value());
    for (int i = 0; i < 5; ++i) ASSERT_EQ(device_->mock().report_event(), 0);  // three find no room
    wait_for(events.fd());
    for (std::uint32_t i = 0; i < 2; ++i) {
        const auto event = events.read().value().value();
        EXPECT_EQ(event.sequence, i);
        EXPECT_EQ(event.lost, 0U);
        EXPECT_EQ(event.data.value().stream, kStream);
    }
    const auto loss = events.read().value().value();
    EXPECT_FALSE(loss.data);
    EXPECT_EQ(loss.lost, 3U);
    ASSERT_EQ(device_->mock().report_event(), 0);
    const auto next = events.read().value().value();
    EXPECT_EQ(next.sequence, 5U);
    EXPECT_EQ(next.lost, 0U);
    EXPECT_TRUE(next.data);

    // A gap that a later event closes before it was read.
    for (int i = 0; i < 4; ++i) ASSERT_EQ(device_->mock().report_event(), 0);
    (void)events.read().value();
    ASSERT_EQ(device_->mock().report_event(), 0);
    (void)events.read().value();
    EXPECT_EQ(events.read().value()->lost, 2U);
    EXPECT_EQ(events.lost(), 5U);
}

TEST_F(GuestTest, ADeviceIsGivenToOneGuestOrSpaceAtATime) {
    EXPECT_EQ(GuestDevice::of(device_).error().code(), EBUSY);
    EXPECT_EQ(space_->attach(device_).error().code(), EBUSY);
    const auto other = std::make_shared<MockAttachable>(*backend_);
    const auto joined = space_->attach(other).value();
    EXPECT_EQ(other->attached, parent_) << "one page table serves both";
    EXPECT_EQ(GuestDevice::of(other).error().code(), EBUSY);
}

}  // namespace
}  // namespace iommufd::kernel_tests
