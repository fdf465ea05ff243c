// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A bound device on the model's machine: what it is attached to, its regions and interrupts, and how it ends.
#include "iommufd/vfio/device.hpp"

#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/features.hpp"
#include "iommufd/vfio/region.hpp"
#include "support/allocation_faults.hpp"
#include "uapi/vfio.hpp"
#include "vfio/overlay.hpp"

namespace iommufd::vfio {
namespace {

namespace abi = uapi::vfio;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DeviceTest : public ::testing::Test {
protected:
    void TearDown() override { EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text(); }

    Device bind() {
        return Cdev::open("00:10.0", {.kernel = &kernel_, .name = {}}).value().bind(backend_).value();
    }
    core::Ioas alloc() { return core::Ioas::alloc(*backend_.context()).value(); }

    model::Machine machine_;
    Overlay kernel_{machine_.kernel()};
    Backend backend_ = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel_}).value();
};

std::uint64_t take(int eventfd) {
    std::uint64_t count = 0;
    return ::read(eventfd, &count, sizeof count) == sizeof count ? count : 0;
}

TEST_F(DeviceTest, TellsWhatItIs) {
    const Device device = bind();
    EXPECT_TRUE(device.id());
    EXPECT_EQ(device.name(), "vfio-pci 0000:00:10.0");
    EXPECT_TRUE(device.info().is_pci);
    EXPECT_TRUE(device.info().translated);
    EXPECT_FALSE(device.info().resets);
    EXPECT_EQ(device.attachable()->dma_bits(), 64U);
    device.set_dma_bits(28);
    EXPECT_EQ(device.attachable()->dma_bits(), 28U);
    EXPECT_EQ(device.attachable()->sink(), nullptr);
    EXPECT_EQ(device.attachable()->dirty_source(), nullptr);
    EXPECT_THAT(backend_.users(), ElementsAre("vfio-pci 0000:00:10.0"));
}

TEST_F(DeviceTest, AttachesIsReplacedAndDetaches) {
    const Device device = bind();
    const core::Ioas first = alloc();
    const core::Ioas second = alloc();
    const HwptId table = device.attach(first.id()).value();
    EXPECT_NE(device.attach(second.id()).value(), table);
    EXPECT_TRUE(device.detach());
    EXPECT_TRUE(device.detach()) << "the kernel doesn't mind";
    EXPECT_EQ(device.attach(IoasId{4711}).error().code(), ENOENT);
    EXPECT_THAT(device.attach(IoasId{4711}).error().line(),
                HasSubstr("cannot attach vfio-pci 0000:00:10.0 to page table 4711 of 'iommufd0'"));
}

TEST_F(DeviceTest, APasidOfADeviceWithoutAnyIsRefusedThoughTheKernelTakesIt) {
    const Device device = bind();
    const core::Ioas ioas = alloc();
    EXPECT_EQ(device.attach(ioas.id(), 5).error().code(), EOPNOTSUPP);
    EXPECT_TRUE(device.detach(5));
}

TEST_F(DeviceTest, ARefusedDetachmentIsListedUntilItSucceeds) {
    const Device device = bind();
    const core::Ioas ioas = alloc();
    device.attach(ioas.id()).value();
    kernel_.failing[abi::kDeviceDetachIommufdPt] = EIO;
    EXPECT_EQ(device.detach().error().code(), EIO);
    ASSERT_THAT(backend_.not_released(), SizeIs(1));
    EXPECT_EQ(backend_.not_released()[0].object, "the attachment of vfio-pci 0000:00:10.0 in 'iommufd0'");
    EXPECT_EQ(backend_.not_released()[0].operation, Operation::vfio_detach);
    EXPECT_EQ(backend_.context()->retry_releases(), 1U);
    kernel_.failing.clear();
    EXPECT_EQ(backend_.context()->retry_releases(), 0U);
    EXPECT_THAT(backend_.not_released(), IsEmpty());
}

TEST_F(DeviceTest, ARetryNeverEndsAnAttachmentThatWasMadeSince) {
    const Device device = bind();
    const core::Ioas ioas = alloc();
    device.attach(ioas.id()).value();
    kernel_.failing[abi::kDeviceDetachIommufdPt] = EIO;
    EXPECT_FALSE(device.detach());
    kernel_.failing.clear();
    const HwptId table = device.attach(ioas.id()).value();
    EXPECT_EQ(backend_.context()->retry_releases(), 0U);
    // Still attached: the page table is the one in use, and would have gone with its last device.
    EXPECT_EQ(device.attach(ioas.id()).value(), table);
    const std::uint64_t before = backend_.notices();
    EXPECT_TRUE(device.detach());
    EXPECT_EQ(backend_.notices(), before);
}

TEST_F(DeviceTest, AFailedAttachLeavesTheRefusedDetachmentOwed) {
    const Device device = bind();
    const core::Ioas ioas = alloc();
    device.attach(ioas.id()).value();
    kernel_.failing[abi::kDeviceDetachIommufdPt] = EIO;
    EXPECT_FALSE(device.detach());
    EXPECT_FALSE(device.attach(IoasId{4711}));
    EXPECT_EQ(backend_.context()->retry_releases(), 1U);
    kernel_.failing.clear();
    EXPECT_EQ(backend_.context()->retry_releases(), 0U);
}

TEST_F(DeviceTest, ClosingSettlesWhatCouldNotBeDetached) {
    const Backend second = Backend::open({.id = "iommufd1",
                                          .fd = AdoptFd{kernel_.open("/dev/iommu", 2)},
                                          .report = {},
                                          .kernel = &kernel_})
                               .value();
    {
        const Device device =
            Cdev::open("00:10.0", {.kernel = &kernel_, .name = {}}).value().bind(second).value();
        const core::Ioas ioas = core::Ioas::alloc(*second.context()).value();
        device.attach(ioas.id()).value();
        kernel_.failing[abi::kDeviceDetachIommufdPt] = EIO;
        EXPECT_FALSE(device.detach());
        EXPECT_THAT(second.not_released(), SizeIs(1));
    }
    // The file is open, since it was given; nothing is left in it.
    EXPECT_TRUE(second.is_open());
    EXPECT_THAT(second.not_released(), IsEmpty());
    EXPECT_EQ(machine_.leaks().objects, 0U);
    EXPECT_EQ(machine_.leaks().devices, 0U);
}

TEST_F(DeviceTest, RetriesMeetAttachingAndClosingWithoutHarm) {
    const Backend given = Backend::open({.id = "iommufd1",
                                         .fd = AdoptFd{kernel_.open("/dev/iommu", 2)},
                                         .report = {},
                                         .kernel = &kernel_})
                              .value();
    const core::Context context = *given.context();
    std::atomic<bool> stop = false;
    std::thread retrying([&] {
        while (!stop) context.retry_releases();
    });
    for (int round = 0; round < 50; ++round) {
        const Device device =
            Cdev::open("00:10.0", {.kernel = &kernel_, .name = {}}).value().bind(given).value();
        const core::Ioas ioas = core::Ioas::alloc(context).value();
        for (int i = 0; i < 4; ++i) {
            const auto attached = device.attach(ioas.id());
            if (!attached) {
                EXPECT_EQ(attached.error().code(), EBUSY);  // a retry was under way
                continue;
            }
            kernel_.refuse_next_detach = true;
            (void)device.detach();
        }
    }
    stop = true;
    retrying.join();
    EXPECT_EQ(context.retry_releases(), 0U);
    EXPECT_EQ(machine_.leaks().objects, 0U);
}

TEST_F(DeviceTest, IsClosedBeforeItsIommufdInWhateverOrderHandlesGo) {
    std::optional<Device> device = bind();
    std::optional<Region> bar = device->region(0).value();
    std::optional<dma::Space> space = dma::Space::on(backend_).value();
    std::optional<dma::Attachment> attached = space->attach(*device).value();
    device.reset();
    space.reset();
    EXPECT_EQ(machine_.leaks().devices, 1U);
    attached.reset();
    EXPECT_EQ(bar->read<std::uint32_t>(0).value(), 0x010000edU) << "a region keeps the device";
    bar.reset();
    EXPECT_EQ(machine_.leaks().devices, 0U);
    EXPECT_FALSE(backend_.is_open());
}

TEST_F(DeviceTest, DestroyIsRefusedWhileARegionOrASpaceKeepsIt) {
    Device device = bind();
    {
        const Region bar = device.region(0).value();
        const auto refused = std::move(device).destroy();
        EXPECT_EQ(refused.error().code(), EBUSY);
        EXPECT_THAT(refused.error().line(), HasSubstr("1 space or region keeps it"));
        EXPECT_TRUE(device.id()) << "the handle stays";  // NOLINT(bugprone-use-after-move)
    }
    EXPECT_TRUE(std::move(device).destroy());  // NOLINT(bugprone-use-after-move)
    EXPECT_FALSE(backend_.is_open());
    EXPECT_TRUE(std::move(device).destroy())  // NOLINT(bugprone-use-after-move)
        << "there is nothing to do";
}

TEST_F(DeviceTest, RegistersAreReadAndWrittenWithinTheRegionOnly) {
    const Device device = bind();
    ASSERT_TRUE(device.enable());
    const Region bar = device.region(0).value();
    EXPECT_EQ(bar.index(), 0U);
    EXPECT_EQ(bar.size(), 1U << 20);
    EXPECT_TRUE(bar.readable());
    EXPECT_TRUE(bar.writable());
    EXPECT_THAT(bar.mapped(), IsEmpty());
    EXPECT_TRUE(bar.write<std::uint32_t>(4, 0x0f0f0f0f));
    EXPECT_EQ(bar.read<std::uint32_t>(4).value(), 0xf0f0f0f0);
    for (const std::uint64_t offset :
         {bar.size(), bar.size() - 2, ~std::uint64_t{0}, ~std::uint64_t{0} - 3}) {
        EXPECT_EQ(bar.read<std::uint32_t>(offset).error().code(), EINVAL) << offset;
        EXPECT_EQ(bar.write<std::uint32_t>(offset, 0).error().code(), EINVAL) << offset;
    }
    EXPECT_THAT(bar.read<std::uint32_t>(bar.size()).error().line(), HasSubstr("it ends at 0x100000"));
}

TEST_F(DeviceTest, RegionsThatAreNotThereAreRefused) {
    const Device device = bind();
    EXPECT_EQ(device.region(1).error().code(), ENODEV);
    EXPECT_EQ(device.region(99).error().code(), EINVAL);
}

TEST_F(DeviceTest, InterruptsReachTheCallersEventfds) {
    const Device device = bind();
    ASSERT_TRUE(device.enable());
    const Region bar = device.region(0).value();
    EXPECT_EQ(device.irq_info(Irq::msi).value().count, 1U);
    const int eventfd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT_TRUE(device.set_irqs(Irq::msi, 0, {&eventfd, 1}));
    ASSERT_TRUE(bar.write<std::uint32_t>(0x60, 1));  // raise
    EXPECT_EQ(take(eventfd), 1U);
    ASSERT_TRUE(device.trigger(Irq::msi, 0));
    EXPECT_EQ(take(eventfd), 1U);
    ASSERT_TRUE(device.disable_irqs(Irq::msi));
    ASSERT_TRUE(bar.write<std::uint32_t>(0x60, 2));
    EXPECT_EQ(take(eventfd), 0U);
    ASSERT_TRUE(bar.write<std::uint32_t>(0x64, 3));  // acknowledge
    EXPECT_EQ(device.set_irqs(Irq::msi, 0, {}).error().code(), EINVAL);
    EXPECT_EQ(device.set_irqs(Irq::msi, 7, {&eventfd, 1}).error().code(), EINVAL);
    ::close(eventfd);
}

TEST_F(DeviceTest, ALineIsMaskedWhenItFiresAndUnmaskedByCallOrEventfd) {
    const Device device = bind();
    ASSERT_TRUE(device.enable());
    const Region bar = device.region(0).value();
    EXPECT_TRUE(device.irq_info(Irq::intx).value().automasked);
    const int fired = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT_TRUE(device.set_irqs(Irq::intx, 0, {&fired, 1}));
    ASSERT_TRUE(bar.write<std::uint32_t>(0x60, 1));
    EXPECT_EQ(take(fired), 1U);
    EXPECT_TRUE(device.unmask(Irq::intx, 0));
    EXPECT_EQ(take(fired), 1U) << "it was not acknowledged";
    ASSERT_TRUE(bar.write<std::uint32_t>(0x64, 1));
    EXPECT_TRUE(device.unmask(Irq::intx, 0));
    EXPECT_EQ(take(fired), 0U);
    EXPECT_TRUE(device.disable_irqs(Irq::intx));
    ::close(fired);
}

TEST_F(DeviceTest, TheKernelAsksForItBackThroughItsRequestEventfd) {
    const Device device = bind();
    ASSERT_GE(device.request_fd(), 0);
    EXPECT_EQ(take(device.request_fd()), 0U);
    EXPECT_TRUE(machine_.request_device("0000:00:10.0"));
    EXPECT_EQ(take(device.request_fd()), 1U);
}

TEST_F(DeviceTest, InterruptsThatItDoesNotHaveAreNoFailure) {
    kernel_.failing[abi::kDeviceGetIrqInfo] = EINVAL;
    EXPECT_EQ(bind().request_fd(), -1);
    kernel_.failing[abi::kDeviceGetIrqInfo] = EIO;  // but others are
    EXPECT_EQ(Cdev::open("00:10.0", {.kernel = &kernel_, .name = {}}).value().bind(backend_).error().code(),
              EIO);
    EXPECT_FALSE(backend_.is_open());
}

TEST_F(DeviceTest, WhatItHasNotIsExplained) {
    const Device device = bind();
    EXPECT_EQ(device.reset().error().code(), EINVAL);
    EXPECT_THAT(device.reset().error().line(), HasSubstr("no reset of its own"));
    EXPECT_EQ(device.reset_peers().error().code(), ENODEV);
    EXPECT_EQ(device.hot_reset().error().code(), ENODEV);
    EXPECT_FALSE(has_feature(device, Feature::migration, FeatureUse::get));
    EXPECT_EQ(migration(device).error().code(), ENOTTY);
    const Range range = *Range::of(Iova{0}, 4096);
    EXPECT_EQ(start_dma_log(device, {&range, 1}, 4096).error().code(), ENOTTY);
    std::uint64_t word = 0;
    EXPECT_EQ(report_dma_log(device, *Range::of(Iova{0}, 260_KiB), 4096, {&word, 1}).error().code(), EINVAL);
    EXPECT_EQ(report_dma_log(device, *Range::of(Iova{0}, 256_KiB), 4096, {&word, 1}).error().code(), ENOTTY);
}

// Bind, attach, use, detach, bind again. Stops at the first error, and lets everything go.
Result<void> bring_up_and_tear_down(sys::Kernel& kernel) {
    auto backend = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel});
    if (!backend) return backend.error();
    for (int round = 0; round < 2; ++round) {
        auto cdev = Cdev::open("0000:00:10.0", {.kernel = &kernel, .name = {}});
        if (!cdev) return cdev.error();
        auto device = std::move(*cdev).bind(*backend);
        if (!device) return device.error();
        if (auto enabled = device->enable(); !enabled) return enabled;
        auto ioas = core::Ioas::alloc(*backend->context());
        if (!ioas) return ioas.error();
        if (auto attached = device->attach(ioas->id()); !attached) return attached.error();
        auto bar = device->region(0);
        if (!bar) return bar.error();
        const int eventfd = device->request_fd();
        if (auto set = device->set_irqs(Irq::msi, 0, {&eventfd, 1}); !set) return set;
        if (auto written = bar->write<std::uint32_t>(4, 1); !written) return written;
        if (auto gone = device->disable_irqs(Irq::msi); !gone) return gone;
        if (auto detached = device->detach(); !detached) return detached;
    }
    return {};
}

class DeviceSystemCallFaultsTest : public ::testing::TestWithParam<bool> {};

TEST_P(DeviceSystemCallFaultsTest, NothingIsLeftWhicheverSystemCallFails) {
    std::uint64_t n = 1;
    for (;; ++n) {
        model::Machine machine;
        sys::FaultyKernel kernel(machine.kernel(), {.call = n, .error = EIO, .after_effect = GetParam()});
        (void)bring_up_and_tear_down(kernel);
        ASSERT_FALSE(machine.leaks().any()) << "call " << n << " failed, and left " << machine.leaks().text();
        if (!kernel.struck()) break;
    }
    EXPECT_GT(n, 40U);
}

INSTANTIATE_TEST_SUITE_P(Releasing, DeviceSystemCallFaultsTest, ::testing::Values(false, true),
                         [](const auto& of) { return of.param ? "FailsAfterItsEffect" : "FailsBefore"; });

TEST(DeviceFaultsTest, NothingIsLeftWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    model::Machine machine;
    ASSERT_TRUE(bring_up_and_tear_down(machine.kernel()));
    const std::int64_t before = AllocationFaults::live();
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        int code = 0;
        {
            const AllocationFaults::Armed armed(n);
            const auto result = bring_up_and_tear_down(machine.kernel());
            if (!result) code = result.error().code();
            struck = armed.struck();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << "allocation " << n << " gave " << errno_name(code);
        ASSERT_FALSE(machine.leaks().any()) << "allocation " << n << " left " << machine.leaks().text();
        ASSERT_TRUE(bring_up_and_tear_down(machine.kernel()));
        ASSERT_EQ(AllocationFaults::live(), before) << "allocation " << n << " left memory behind";
    }
    EXPECT_GT(n, 40U);
}

}  // namespace
}  // namespace iommufd::vfio
