// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Every verb of core on the real kernel. What the VM's IOMMU can't do (dirty tracking, nesting, PASIDs,
// faults, viommus) is done with the kernel's own mock device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "backend/state.hpp"
#include "core/sweep.hpp"
#include "iommufd/backend/capabilities.hpp"
#include "iommufd/core/fault_queue.hpp"
#include "iommufd/core/hw_info.hpp"
#include "iommufd/core/vevent_queue.hpp"
#include "iommufd/core/viommu.hpp"
#include "iommufd/dma/memory.hpp"
#include "kernel/mock.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::kernel_tests {
namespace {

namespace mock = uapi::mock;
using namespace core;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The mock's IOVAs start at 16 MiB.
constexpr Iova kBase{0x10000000};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

class MockTest : public ::testing::Test {
protected:
    void SetUp() override {
        auto opened = Context::open({.label = "iommufd0", .report = {}, .kernel = &Recorder::instance()});
        ASSERT_TRUE(opened) << opened.error().text();
        context_.emplace(std::move(*opened));
        capabilities_ = Capabilities::probe(*context_);
        const Ioas ioas = Ioas::alloc(*context_).value();
        const auto device = MockDevice::make(*context_, ioas.id());
        if (!device)
            GTEST_SKIP() << "this kernel has no mock device of our version: " << device.error().text();
    }

    // Nothing may be left: the kernel gives out the lowest free id.
    void TearDown() override {
        if (IsSkipped() || HasFatalFailure()) return;
        // (A vdevice whose device went first keeps its id for good: the kernel's tombstone.)
        if (!tombstone_) {
            EXPECT_EQ(Ioas::alloc(*context_).value().id().value, 1U) << "an object was left";
        }
        EXPECT_EQ(context_->notices(), 0U);
    }

    bool needs(Operation operation) {
        if (auto there = capabilities_.require(operation); !there) {
            EXPECT_THAT(there.error().line(), HasSubstr("boot Linux "));
            return true;
        }
        return false;
    }

    // A mock of Linux 6.15 or later: with PASIDs, and I/O pages of 4 KiB.
    bool is_recent() const { return static_cast<bool>(capabilities_.require(Operation::veventq_alloc)); }

    Hwpt nest(const MockDevice& device, const Hwpt& parent, const FaultQueue* queue = nullptr) {
        const mock::HwptSelftest data{.iotlb = mock::kIotlbDefault, .pagetable_type = 0};
        // The kernel takes neither less nor more than the struct's length of its first version.
        auto nested = Hwpt::nest(
            *context_, device.id(), parent,
            {.fault_queue = queue, .data = {.type = mock::kHwptDataSelftest, .bytes = bytes_of(data.iotlb)}});
        if (!nested)
            nested = Hwpt::nest(
                *context_, device.id(), parent,
                {.fault_queue = queue, .data = {.type = mock::kHwptDataSelftest, .bytes = bytes_of(data)}});
        return std::move(nested).value();
    }

    std::optional<Context> context_;
    Capabilities capabilities_;
    bool tombstone_ = false;
    dma::Memory memory_ = dma::Memory::memfd(1_MiB, {.label = "ram", .prealloc = true}).value();
};

#define NEEDS(operation) \
    if (needs(operation)) GTEST_SKIP() << "needs Linux " << since(operation)

TEST_F(MockTest, MapsUnmapsCopiesAndMovesByAddress) {
    const Ioas ioas = Ioas::alloc(*context_).value();
    const Ioas other = Ioas::alloc(*context_).value();
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    EXPECT_EQ(ioas.map(memory_.data(), 64_KiB, Access::read_write, kBase).value(), kBase);
    const Iova chosen = ioas.map(memory_.data(), 64_KiB, Access::read).value();
    EXPECT_EQ(other.copy(ioas, kBase, 64_KiB, Access::read, kBase + 1_MiB).value(), kBase + 1_MiB);
    EXPECT_TRUE(other.copy(ioas, kBase, 64_KiB, Access::read));
    EXPECT_EQ(ioas.unmap(chosen, 64_KiB).value(), 64_KiB);
    EXPECT_EQ(ioas.unmap_all().value(), 64_KiB);
    EXPECT_EQ(ioas.unmap_all().value(), 0U);
}

TEST_F(MockTest, MapsByFileAndHandsTheAccountingOver) {
    NEEDS(Operation::ioas_map_file);
    const Ioas ioas = Ioas::alloc(*context_).value();
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    EXPECT_EQ(ioas.map_file(memory_.fd(), 0, 64_KiB, Access::read_write, kBase).value(), kBase);
    EXPECT_TRUE(ioas.map_file(memory_.fd(), 64_KiB, 64_KiB, Access::read));
    EXPECT_TRUE(context_->change_process());
}

TEST_F(MockTest, TellsAndLimitsItsIovas) {
    const Ioas ioas = Ioas::alloc(*context_).value();
    EXPECT_EQ(ioas.iova_ranges().value().ranges.size(), 1U);
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    const IovaRanges ranges = ioas.iova_ranges().value();
    ASSERT_EQ(ranges.ranges.size(), 1U);
    EXPECT_EQ(ranges.ranges[0], (Range{Iova{mock::kApertureStart}, Iova{mock::kApertureLast}}));
    EXPECT_EQ(ranges.alignment, mock::kPageSize);
    const Range allowed{kBase, kBase + (1_MiB - 1)};
    ASSERT_TRUE(ioas.allow_iovas({&allowed, 1}));
    EXPECT_TRUE(allowed.contains(ioas.map(memory_.data(), 64_KiB, Access::read).value()));
    EXPECT_TRUE(ioas.allow_iovas({}));
}

TEST_F(MockTest, MoreRangesThanWeMadeRoomForAreAllRead) {
    const Ioas ioas = Ioas::alloc(*context_).value();
    for (std::uint64_t i = 0; i < 20; ++i) {
        mock::TestCmd command{};
        command.op = mock::kAddReserved;
        command.id = ioas.id().value;
        command.add_reserved = {.start = (i * 2 + 1) * 1_MiB, .length = 1_MiB};
        ASSERT_EQ(mock_operation(*context_, command), 0);
    }
    EXPECT_EQ(ioas.iova_ranges().value().ranges.size(), 21U);
}

TEST_F(MockTest, OptionsOfContextAndIoas) {
    ASSERT_TRUE(context_->set_rlimit_mode(RlimitMode::per_process));
    EXPECT_EQ(context_->rlimit_mode().value(), RlimitMode::per_process);
    const Ioas ioas = Ioas::alloc(*context_).value();
    EXPECT_EQ(context_->set_rlimit_mode(RlimitMode::per_user).error().code(), EBUSY);
    EXPECT_TRUE(ioas.huge_pages().value());
    EXPECT_TRUE(ioas.set_huge_pages(false));
    EXPECT_EQ(vfio_ioas(*context_).error().code(), ENODEV);
    EXPECT_TRUE(set_vfio_ioas(*context_, ioas));
    EXPECT_EQ(vfio_ioas(*context_).value(), ioas.id());
    EXPECT_TRUE(clear_vfio_ioas(*context_));
}

TEST_F(MockTest, HwInfoTellsWhatTheIommuCanDo) {
    NEEDS(Operation::get_hw_info);
    const Ioas ioas = Ioas::alloc(*context_).value();
    const MockDevice device =
        MockDevice::make(*context_, ioas.id(), is_recent() ? mock::kDevicePasid : 0).value();
    const HwInfo info = hw_info(*context_, device.id()).value();
    EXPECT_EQ(static_cast<std::uint32_t>(info.type), mock::kHwInfoSelftest);
    EXPECT_TRUE(info.dirty_tracking);
    EXPECT_EQ(info.length, sizeof(mock::TestHwInfo));
    mock::TestHwInfo data;
    std::memcpy(&data, info.data.data(), sizeof data);
    EXPECT_EQ(data.test_reg, mock::kHwInfoRegval);
    const MockDevice plain = MockDevice::make(*context_, ioas.id(), mock::kDeviceNoDirty).value();
    EXPECT_FALSE(hw_info(*context_, plain.id()).value().dirty_tracking);
    EXPECT_EQ(hw_info(*context_, DeviceId{ioas.id().value}).error().code(), ENOENT);
}

TEST_F(MockTest, DirtyPagesAreTrackedReadClearedAndKept) {
    NEEDS(Operation::hwpt_get_dirty_bitmap);
    const Ioas ioas = Ioas::alloc(*context_).value();
    ASSERT_TRUE(ioas.set_huge_pages(false));
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    const Hwpt hwpt = Hwpt::alloc(*context_, device.id(), ioas, {.dirty_tracking = true}).value();
    ASSERT_EQ(device.replace(hwpt.id()), 0);
    ASSERT_TRUE(ioas.map(memory_.data(), 1_MiB, Access::read_write, kBase));
    ASSERT_TRUE(hwpt.set_dirty_tracking(true));

    const std::uint64_t page = is_recent() ? 4_KiB : 2_KiB;
    const std::size_t words = 1_MiB / page / 64;
    std::uint64_t written[8] = {0x5, 0, 0x8000000000000000};  // pages 0, 2 and 191
    mock::TestCmd command{};
    command.op = mock::kDirty;
    command.id = hwpt.id().value;
    command.dirty = {.flags = 0,
                     .iova = kBase.value,
                     .length = 1_MiB,
                     .page_size = page,
                     .uptr = reinterpret_cast<std::uintptr_t>(written),
                     .out_nr_dirty = 0};
    ASSERT_EQ(mock_operation(*context_, command), 0);

    const Range range = *Range::of(kBase, 1_MiB);
    const auto read = [&](Hwpt::Dirty then) {
        std::vector<std::uint64_t> found(words);
        EXPECT_TRUE(hwpt.read_dirty(range, page, found, then));
        return found;
    };
    const std::vector<std::uint64_t> expected(written, written + words);
    EXPECT_EQ(read(Hwpt::Dirty::keep), expected);
    EXPECT_EQ(read(Hwpt::Dirty::clear), expected);
    EXPECT_THAT(read(Hwpt::Dirty::clear), Each(0U));
    std::vector<std::uint64_t> too_short(words - 1);
    EXPECT_EQ(hwpt.read_dirty(range, page, too_short).error().code(), EINVAL);
    EXPECT_TRUE(hwpt.set_dirty_tracking(false));
    ASSERT_EQ(device.replace(ioas.id()), 0);
}

TEST_F(MockTest, DirtyPagesBeyondTheFirst65536AreInTheirPlaces) {
    NEEDS(Operation::hwpt_get_dirty_bitmap);
    const dma::Memory memory = dma::Memory::memfd(320_MiB, {.label = "large"}).value();
    const Ioas ioas = Ioas::alloc(*context_).value();
    ASSERT_TRUE(ioas.set_huge_pages(false));
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    const Hwpt hwpt = Hwpt::alloc(*context_, device.id(), ioas, {.dirty_tracking = true}).value();
    ASSERT_EQ(device.replace(hwpt.id()), 0);
    ASSERT_TRUE(ioas.map(memory.data(), memory.size(), Access::read_write, kBase));
    ASSERT_TRUE(hwpt.set_dirty_tracking(true));
    const std::uint64_t page = is_recent() ? 4_KiB : 2_KiB;
    for (const std::uint64_t number : {255U, 256U, 65535U, 65536U, 70000U}) {
        std::uint64_t first_bit = 1;
        mock::TestCmd command{};
        command.op = mock::kDirty;
        command.id = hwpt.id().value;
        command.dirty = {.flags = 0,
                         .iova = kBase.value + number * page,
                         .length = page,
                         .page_size = page,
                         .uptr = reinterpret_cast<std::uintptr_t>(&first_bit),
                         .out_nr_dirty = 0};
        ASSERT_EQ(mock_operation(*context_, command), 0) << number;
    }
    std::vector<std::uint64_t> bitmap(memory.size() / page / 64);
    ASSERT_TRUE(hwpt.read_dirty(*Range::of(kBase, memory.size()), page, bitmap));
    std::vector<std::size_t> found;
    for (std::size_t bit = 0; bit < bitmap.size() * 64; ++bit)
        if (bitmap[bit / 64] >> bit % 64 & 1) found.push_back(bit);
    EXPECT_THAT(found, ElementsAre(255U, 256U, 65535U, 65536U, 70000U));
    EXPECT_TRUE(hwpt.set_dirty_tracking(false));
    ASSERT_EQ(device.replace(ioas.id()), 0);
}

TEST_F(MockTest, ANestedPageTableIsInvalidatedAndAPartialFailureSaysHowFarItCame) {
    NEEDS(Operation::hwpt_invalidate);
    const Ioas ioas = Ioas::alloc(*context_).value();
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    Hwpt parent = Hwpt::alloc(*context_, device.id(), ioas, {.nest_parent = true}).value();
    const Hwpt nested = nest(device, parent);
    EXPECT_EQ(std::move(parent).destroy().error().code(), EBUSY);
    ASSERT_EQ(device.replace(nested.id()), 0);

    const mock::HwptInvalidateSelftest entries[] = {{.flags = 0, .iotlb_id = 0},
                                                    {.flags = 0, .iotlb_id = 77}};
    std::uint32_t done = 99;
    const auto invalidated = nested.invalidate({.type = mock::kHwptInvalidateSelftest,
                                                .entry_length = sizeof entries[0],
                                                .entries = std::as_bytes(std::span(entries))},
                                               done);
    EXPECT_EQ(invalidated.error().code(), EINVAL);
    EXPECT_EQ(done, 1U);
    EXPECT_TRUE(nested.invalidate({.type = mock::kHwptInvalidateSelftest,
                                   .entry_length = sizeof entries[0],
                                   .entries = std::as_bytes(std::span(entries).first(1))},
                                  done));
    EXPECT_EQ(done, 1U);
    ASSERT_EQ(device.replace(ioas.id()), 0);
}

TEST_F(MockTest, PasidsAreAttachedToTheirOwnPageTables) {
    NEEDS(Operation::viommu_alloc);
    const Ioas ioas = Ioas::alloc(*context_).value();
    const MockDevice device = MockDevice::make(*context_, ioas.id(), mock::kDevicePasid).value();
    if (hw_info(*context_, device.id()).value().max_pasid_log2 == 0) GTEST_SKIP() << "needs Linux 6.15";
    const Hwpt first = Hwpt::alloc(*context_, device.id(), ioas, {.pasid = true}).value();
    const Hwpt second = Hwpt::alloc(*context_, device.id(), ioas, {.pasid = true}).value();
    ASSERT_EQ(device.replace(first.id()), 0);
    EXPECT_EQ(device.attach_pasid(100, ioas.id()), -EINVAL);  // a page table without the flag
    ASSERT_EQ(device.attach_pasid(100, first.id()), 0);
    EXPECT_EQ(device.check_pasid(100, first.id()), 0);
    ASSERT_EQ(device.replace_pasid(100, second.id()), 0);
    EXPECT_EQ(device.check_pasid(100, second.id()), 0);
    ASSERT_EQ(device.detach_pasid(100), 0);
    ASSERT_EQ(device.replace(ioas.id()), 0);
}

TEST_F(MockTest, APageFaultIsReadAndAnsweredOnce) {
    NEEDS(Operation::fault_queue_alloc);
    const Ioas ioas = Ioas::alloc(*context_).value();
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    const FaultQueue queue = FaultQueue::alloc(*context_, {.label = "faults"}).value();
    // Before Linux 6.13 the mock has fault queues for nested page tables only.
    const Hwpt parent = Hwpt::alloc(*context_, device.id(), ioas, {.nest_parent = true}).value();
    const Hwpt hwpt = nest(device, parent, &queue);
    ASSERT_EQ(device.replace(hwpt.id()), 0);

    PageFault buffer[4];
    EXPECT_TRUE(queue.read(buffer).value().empty());  // never blocks
    ASSERT_EQ(device.fault(kBase.value, 0, 7), 0);
    pollfd waiting{.fd = queue.fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(::poll(&waiting, 1, 5000), 1);
    const auto faults = queue.read(buffer).value();
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_EQ(faults[0].address, kBase.value);
    EXPECT_EQ(faults[0].group, 7U);
    EXPECT_TRUE(faults[0].reads() && faults[0].writes() && faults[0].last());
    ASSERT_TRUE(queue.respond(faults[0].cookie, Response::success));
    const auto twice = queue.respond(faults[0].cookie, Response::success);
    EXPECT_EQ(twice.error().code(), EINVAL);
    EXPECT_THAT(twice.error().what(), HasSubstr("fault queue"));
    ASSERT_EQ(device.replace(ioas.id()), 0);
}

class ViommuTest : public MockTest {
protected:
    void SetUp() override {
        MockTest::SetUp();
        if (IsSkipped()) return;
        NEEDS(Operation::viommu_alloc);
        ioas_.emplace(Ioas::alloc(*context_).value());
        device_.emplace(MockDevice::make(*context_, ioas_->id()).value());
        parent_.emplace(Hwpt::alloc(*context_, device_->id(), *ioas_, {.nest_parent = true}).value());
    }
    void TearDown() override {
        if (device_) {
            EXPECT_EQ(device_->replace(ioas_->id()), 0);
        }
        parent_.reset();
        device_.reset();
        ioas_.reset();
        MockTest::TearDown();
    }
    Viommu viommu() {
        return Viommu::alloc(*context_, device_->id(), *parent_,
                             {.label = "guest", .type = mock::kViommuSelftest})
            .value();
    }
    Hwpt nested(const Viommu& on) {
        const mock::HwptSelftest data{.iotlb = mock::kIotlbDefault, .pagetable_type = 0};
        auto made = Hwpt::nest(*context_, device_->id(), on,
                               {.data = {.type = mock::kHwptDataSelftest, .bytes = bytes_of(data.iotlb)}});
        if (!made)
            made = Hwpt::nest(*context_, device_->id(), on,
                              {.data = {.type = mock::kHwptDataSelftest, .bytes = bytes_of(data)}});
        return std::move(made).value();
    }

    std::optional<Ioas> ioas_;
    std::optional<MockDevice> device_;
    std::optional<Hwpt> parent_;
};

TEST_F(ViommuTest, AVdeviceHasItsGuestsNumberAndItsCacheIsInvalidated) {
    const Viommu on = viommu();
    const Vdevice vdevice = Vdevice::alloc(*context_, on, device_->id(), 0x99).value();
    EXPECT_EQ(Vdevice::alloc(*context_, on, device_->id(), 0x98).error().code(), EEXIST);
    const mock::ViommuInvalidateSelftest entry{.flags = 0, .vdev_id = 0x99, .cache_id = 0};
    std::uint32_t done = 0;
    ASSERT_TRUE(on.invalidate(
        {.type = mock::kViommuInvalidateSelftest, .entry_length = sizeof entry, .entries = bytes_of(entry)},
        done));
    EXPECT_EQ(done, 1U);
    EXPECT_EQ(device_->check_cache(0, 0), 0);
}

TEST_F(ViommuTest, AVdeviceThatWentWithItsDeviceIsNoLeakAndNoNotice) {
    const Viommu on = viommu();
    auto second = std::make_unique<MockDevice>(MockDevice::make(*context_, ioas_->id()).value());
    std::optional<Vdevice> vdevice = Vdevice::alloc(*context_, on, second->id(), 0x77).value();
    second.reset();
    vdevice.reset();
    EXPECT_TRUE(context_->not_released().empty());
    EXPECT_EQ(context_->notices(), 0U);
    tombstone_ = true;
}

TEST_F(ViommuTest, EventsAreReadInOrderAndALossIsCounted) {
    NEEDS(Operation::veventq_alloc);
    const Viommu on = viommu();
    const Hwpt hwpt = nested(on);
    const Vdevice vdevice = Vdevice::alloc(*context_, on, device_->id(), 0x99).value();
    ASSERT_EQ(device_->replace(hwpt.id()), 0);
    VeventQueue queue =
        VeventQueue::alloc(
            *context_, on,
            {.type = mock::kVeventqSelftest, .depth = 2, .event_size = sizeof(mock::ViommuEventSelftest)})
            .value();
    std::byte buffer[64];
    EXPECT_FALSE(queue.read(buffer).value());
    for (int i = 0; i < 5; ++i) ASSERT_EQ(device_->report_event(), 0);  // three of them find no room
    for (std::uint32_t i = 0; i < 2; ++i) {
        const Vevent event = queue.read(buffer).value().value();
        EXPECT_EQ(event.sequence, i);
        EXPECT_EQ(event.lost, 0U);
        mock::ViommuEventSelftest data;
        ASSERT_EQ(event.data.size(), sizeof data);
        std::memcpy(&data, event.data.data(), sizeof data);
        EXPECT_EQ(data.virt_id, 0x99U);
    }
    const Vevent loss = queue.read(buffer).value().value();
    EXPECT_TRUE(loss.data.empty());
    EXPECT_EQ(loss.lost, 3U);
    ASSERT_EQ(device_->report_event(), 0);
    const Vevent next = queue.read(buffer).value().value();
    EXPECT_EQ(next.sequence, 5U);
    EXPECT_EQ(next.lost, 0U);
    EXPECT_EQ(VeventQueue::alloc(*context_, on, {.type = mock::kVeventqSelftest}).error().code(), EEXIST);
    ASSERT_EQ(device_->replace(ioas_->id()), 0);
}

TEST_F(ViommuTest, AGapThatANormalEventClosesIsCountedAsWell) {
    NEEDS(Operation::veventq_alloc);
    const Viommu on = viommu();
    const Hwpt hwpt = nested(on);
    const Vdevice vdevice = Vdevice::alloc(*context_, on, device_->id(), 0x99).value();
    ASSERT_EQ(device_->replace(hwpt.id()), 0);
    VeventQueue queue =
        VeventQueue::alloc(
            *context_, on,
            {.type = mock::kVeventqSelftest, .depth = 2, .event_size = sizeof(mock::ViommuEventSelftest)})
            .value();
    std::byte buffer[64];
    for (int i = 0; i < 4; ++i) ASSERT_EQ(device_->report_event(), 0);
    (void)queue.read(buffer).value();
    ASSERT_EQ(device_->report_event(), 0);  // takes the place of the news of the loss
    EXPECT_EQ(queue.read(buffer).value()->sequence, 1U);
    const Vevent after = queue.read(buffer).value().value();
    EXPECT_EQ(after.sequence, 4U);
    EXPECT_EQ(after.lost, 2U);
    ASSERT_EQ(device_->replace(ioas_->id()), 0);
}

TEST_F(ViommuTest, AHardwareQueueHoldsItsMemoryAndStandsOnTheOneBeforeIt) {
    NEEDS(Operation::hw_queue_alloc);
    const Viommu on = viommu();
    ASSERT_TRUE(ioas_->map(memory_.data(), 64_KiB, Access::read_write, kBase));
    {
        HwQueue first =
            HwQueue::alloc(*context_, on, *Range::of(kBase, 4096), {.type = mock::kHwQueueSelftest}).value();
        const HwQueue second = HwQueue::alloc(*context_, on, *Range::of(kBase + 4096, 4096),
                                              {.type = mock::kHwQueueSelftest, .index = 1}, first)
                                   .value();
        EXPECT_EQ(ioas_->unmap(kBase, 64_KiB).error().code(), EBUSY);
        EXPECT_EQ(std::move(first).destroy().error().code(), EBUSY);
    }
    EXPECT_EQ(ioas_->unmap(kBase, 64_KiB).value(), 64_KiB);
}

TEST_F(ViommuTest, ItsRegistersAreMappedAndHoldItUntilTheMappingGoes) {
    NEEDS(Operation::hw_queue_alloc);
    mock::ViommuSelftest data{.in_data = 0xbeef, .out_data = 0, .out_mmap_offset = 0, .out_mmap_length = 0};
    Viommu on =
        Viommu::alloc(*context_, device_->id(), *parent_,
                      {.type = mock::kViommuSelftest, .data = std::as_writable_bytes(std::span(&data, 1))})
            .value();
    EXPECT_EQ(data.out_data, 0xbeefU);
    {
        const MmioMapping registers = on.mmap(data.out_mmap_offset, data.out_mmap_length).value();
        EXPECT_EQ(*static_cast<volatile std::uint32_t*>(registers.data()), 0xbeefU);
        EXPECT_EQ(std::move(on).destroy().error().code(), EBUSY);
    }
    EXPECT_EQ(on.mmap(data.out_mmap_offset, 4096).error().code(), ENXIO);
    EXPECT_TRUE(std::move(on).destroy());
}

TEST_F(MockTest, WithoutANoiommuDeviceThePhysicalAddressIsRefusedAndExplained) {
    NEEDS(Operation::ioas_noiommu_get_pa);
    const Ioas ioas = Ioas::alloc(*context_).value();
    const MockDevice device = MockDevice::make(*context_, ioas.id()).value();
    ASSERT_TRUE(ioas.map(memory_.data(), 64_KiB, Access::read, kBase));
    const auto physical = ioas.noiommu_physical_address(kBase, 4096);
    EXPECT_EQ(physical.error().code(), EOPNOTSUPP);
    EXPECT_FALSE(physical.error().cause().empty());
}

TEST_F(MockTest, WhatAProgramLeavesBehindThousandsOfUnusedIdsIsSweptAwayToo) {
    const Context left = Context::open({.report = {}, .kernel = &Recorder::instance()}).value();
    std::vector<std::uint32_t> ids(5100);
    for (std::uint32_t& id : ids) {
        uapi::IoasAlloc command{.size = sizeof command, .flags = 0, .out_ioas_id = 0};
        ASSERT_EQ(left.node()->ioctl(uapi::kIoasAlloc, &command), 0);
        id = command.out_ioas_id;
    }
    for (std::size_t i = 0; i < 5000; ++i) {
        uapi::Destroy command{.size = sizeof command, .id = ids[i]};
        ASSERT_EQ(left.node()->ioctl(uapi::kDestroy, &command), 0);
    }
    const RlimitMode mode = left.rlimit_mode().value();
    EXPECT_EQ(left.set_rlimit_mode(mode).error().code(), EBUSY) << "there is something";
    EXPECT_EQ(sweep(left, Far::near), 0U);
    EXPECT_EQ(sweep(left, Far::everywhere), 100U);
    EXPECT_TRUE(left.set_rlimit_mode(mode)) << "there is nothing";
}

TEST_F(MockTest, ProbingTheCapabilitiesLeavesNothing) {
    for (const Operation operation : Capabilities::all())
        if (!capabilities_.has(operation)) {
            std::printf("this kernel has no %s: %s\n", std::string(name(operation)).c_str(),
                        capabilities_.require(operation).error().line().c_str());
        }
    EXPECT_TRUE(capabilities_.has(Operation::ioas_map));
}

}  // namespace
}  // namespace iommufd::kernel_tests
