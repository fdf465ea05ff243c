// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// VFIO devices that nobody here wrote, on the real kernel: QEMU's edu and NVMe, an igb behind a root port,
// and the kernel's mtty sample mdev.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "iommufd/vfio/features.hpp"
#include "iommufd/vfio/region.hpp"
#include "kernel/vfio_fixture.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::kernel_tests {
namespace {

using namespace std::chrono_literals;
using dma::Memory;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using vfio::Cdev;
using vfio::Device;

TEST_F(VfioTest, UnbindEndsWhenTheDeviceIsGivenBackOnRequest) {
    std::optional<Device> device = bind(kEdu);
    std::optional<dma::Attachment> attached = space_.attach(*device).value();
    ASSERT_GE(device->request_fd(), 0);
    std::atomic<bool> unbound = false;
    std::thread unbinding([&] {
        std::ofstream("/sys/bus/pci/drivers/vfio-pci/unbind") << kEdu;
        unbound = true;
    });
    pollfd waiting{.fd = device->request_fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&waiting, 1, 5000), 1);
    EXPECT_FALSE(unbound);
    attached.reset();
    device.reset();
    unbinding.join();
    EXPECT_TRUE(unbound);
    const auto gone = Cdev::open(kEdu, {.kernel = &Recorder::instance(), .name = {}});
    EXPECT_EQ(gone.error().code(), ENODEV);
    EXPECT_THAT(gone.error().line(),
                HasSubstr("(it is bound to no driver); run `iommufd bind 0000:00:10.0`"));
    std::ofstream("/sys/bus/pci/drivers_probe") << kEdu;
    (void)bind(kEdu);
}

TEST_F(VfioTest, ASecondOpenerIsToldThatTheDeviceIsTaken) {
    const Device device = bind(kEdu);
    const auto second = open(kEdu).bind(backend_);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), EINVAL);
    EXPECT_FALSE(second.error().cause().empty());
    EXPECT_EQ(backend_.users().size(), 1U);
}

TEST_F(VfioTest, ResetsWhatCanBeResetAndExplainsWhatCant) {
    const Device nvme = bind(kNvme);
    EXPECT_TRUE(nvme.info().resets);
    EXPECT_TRUE(nvme.reset());
    const Device edu = bind(kEdu);
    EXPECT_FALSE(edu.info().resets);
    const auto reset = edu.reset();
    EXPECT_EQ(reset.error().code(), EINVAL);
    EXPECT_THAT(reset.error().cause(), HasSubstr("reset"));
    EXPECT_EQ(edu.reset_peers().error().code(), ENODEV);
}

TEST_F(VfioTest, TellsWhatABusResetAffects) {
    const Device igb = bind(kIgb);
    const auto peers = igb.reset_peers();
    ASSERT_TRUE(peers) << peers.error().text();
    ASSERT_FALSE(peers->empty());
    EXPECT_EQ(peers->front().address, kIgb);
    EXPECT_TRUE(peers->front().owned);
    EXPECT_EQ(peers->front().id, igb.id());
    if (auto reset = igb.hot_reset(); !reset)  // the emulated port may have no way
        EXPECT_THAT(reset.error().code(), AnyOf(ENOTTY, ENODEV));
}

TEST_F(VfioTest, RegistersAreMappedWhereTheyAreOfferedAndReadBySystemCallElsewhere) {
    const Device device = bind(kNvme);
    const auto bar = device.region(0).value();
    ASSERT_FALSE(bar.mapped().empty());
    ASSERT_TRUE(device.enable());
    const auto mapped = bar.read<std::uint32_t>(8).value();
    std::uint32_t called = 0;
    ASSERT_TRUE(bar.read_bytes(8, &called, sizeof called));
    EXPECT_EQ(mapped, called);
    EXPECT_EQ(bar.read<std::uint32_t>(bar.size()).error().code(), EINVAL);
    EXPECT_EQ(bar.read<std::uint64_t>(bar.size() - 4).error().code(), EINVAL);
    EXPECT_EQ(device.region(5).error().code(), ENODEV);
    EXPECT_EQ(device.region(99).error().code(), EINVAL);
    const auto config = device.region(7).value();
    EXPECT_TRUE(config.mapped().empty());
    EXPECT_EQ(config.read<std::uint16_t>(0).value(), 0x1b36);
}

TEST_F(VfioTest, InterruptsAreTriggeredMaskedAndTakenAway) {
    const Device device = bind(kNvme);
    const auto info = device.irq_info(vfio::Irq::msix).value();
    ASSERT_GT(info.count, 2U);
    const int eventfd = ::eventfd(0, EFD_NONBLOCK);
    ASSERT_TRUE(device.set_irqs(vfio::Irq::msix, 0, {&eventfd, 1}));
    ASSERT_TRUE(device.trigger(vfio::Irq::msix, 0));
    std::uint64_t fired = 0;
    EXPECT_EQ(::read(eventfd, &fired, sizeof fired), static_cast<ssize_t>(sizeof fired));
    EXPECT_TRUE(device.disable_irqs(vfio::Irq::msix));
    const std::vector<int> many(5000, eventfd);
    EXPECT_FALSE(device.set_irqs(vfio::Irq::msix, 0, many));
    ::close(eventfd);
}

TEST_F(VfioTest, APowerStateIsEnteredAndLeft) {
    const Device nvme = bind(kNvme);
    if (!vfio::has_feature(nvme, vfio::Feature::low_power_entry, vfio::FeatureUse::set))
        GTEST_SKIP() << "this kernel was built without runtime power management";
    EXPECT_TRUE(vfio::enter_low_power(nvme));
    EXPECT_TRUE(vfio::exit_low_power(nvme));
}

TEST_F(VfioTest, AnMdevBindsAttachesToAnIoasMigratesAndLogsItsDma) {
    const Device mtty = bind(kMtty);
    const auto attached = space_.attach(mtty).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const auto migration = vfio::migration(mtty).value();
    EXPECT_TRUE(migration.stop_copy);
    EXPECT_TRUE(migration.pre_copy);
    EXPECT_EQ(vfio::migration_state(mtty).value(), vfio::MigrationState::running);
    EXPECT_GT(vfio::migration_data_size(mtty).value(), 0U);

    const Range range = *Range::of(kBase, 1_MiB);
    ASSERT_TRUE(vfio::start_dma_log(mtty, {&range, 1}, 4096));
    std::uint64_t bitmap[4] = {};
    EXPECT_EQ(vfio::report_dma_log(mtty, range, 4096, std::span(bitmap).first(1)).error().code(), EINVAL);
    if (vfio::has_feature(mtty, vfio::Feature::dma_logging_report, vfio::FeatureUse::get))
        EXPECT_TRUE(vfio::report_dma_log(mtty, range, 4096, bitmap));
    ASSERT_TRUE(vfio::stop_dma_log(mtty));

    const int data = vfio::set_migration_state(mtty, vfio::MigrationState::pre_copy).value();
    ASSERT_GE(data, 0);
    EXPECT_TRUE(vfio::precopy_info(mtty, data));
    const int same = vfio::set_migration_state(mtty, vfio::MigrationState::stop_copy).value();
    EXPECT_EQ(same, -1);  // the stream goes on in the same descriptor
    char bytes[4096];
    EXPECT_GT(::read(data, bytes, sizeof bytes), 0);
    ::close(data);
    EXPECT_TRUE(vfio::set_migration_state(mtty, vfio::MigrationState::stop));
    EXPECT_TRUE(vfio::set_migration_state(mtty, vfio::MigrationState::running));
    EXPECT_EQ(vfio::set_migration_state(mtty, vfio::MigrationState::error).error().code(), EINVAL);
}

// Notes which calls of a device's DMA log were made.
class LogCalls final : public sys::FaultyKernel {
public:
    LogCalls() : FaultyKernel(static_cast<sys::Kernel&>(Recorder::instance())) {}
    int ioctl(int fd, unsigned long request, void* argument) override {
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (request == uapi::vfio::kDeviceFeature) {
            const std::uint32_t flags = static_cast<uapi::vfio::DeviceFeature*>(argument)->flags;
            if ((flags & uapi::vfio::kFeatureProbe) == 0) calls.emplace_back(flags & 0xffff, result);
        }
        return result;
    }
    std::vector<std::pair<std::uint32_t, int>> calls;
};

// The kernel's mtty makes no DMA, and its log never tells anything: what is shown is which source is chosen, and its calls.
TEST_F(VfioTest, TheDmaLogOfAnMdevTellsForASpaceWhereAllDevicesHaveOne) {
    using ::testing::ElementsAre;
    using ::testing::Pair;
    LogCalls kernel;
    const Backend backend =
        Backend::open({.id = "iommufd1", .fd = {}, .report = {}, .kernel = &kernel}).value();
    const auto space = dma::Space::on(backend, {.id = "dma1"}).value();
    const Device mtty = Cdev::open(kMtty, {.kernel = &kernel, .name = {}}).value().bind(backend).value();
    const auto attached = space.attach(mtty).value();
    const auto mapped = space.map(memory_, {.iova = kBase}).value();
    auto reader = space.reader();
    std::vector<Range> dirty;
    const auto visit = [&](std::span<const Range> runs) { dirty.assign(runs.begin(), runs.end()); };
    {
        const auto log = space.track_dirty().value();
        EXPECT_EQ(log.from(), dma::DirtyFrom::devices);
        EXPECT_EQ(log.sync(visit).value().bytes, 0U);
        {
            const auto guard = reader.enter();
            EXPECT_EQ(guard.translate(kBase + 4_KiB, 1, Access::write).size(), 1U);
        }
        EXPECT_EQ(log.sync(visit).value().bytes, 4_KiB);
        EXPECT_EQ(dirty, std::vector{*Range::of(kBase + 4_KiB, 4_KiB)});
    }
    EXPECT_THAT(kernel.calls, ElementsAre(Pair(uapi::vfio::kFeatureDmaLoggingStart, 0),
                                          Pair(uapi::vfio::kFeatureDmaLoggingReport, 0),
                                          Pair(uapi::vfio::kFeatureDmaLoggingReport, 0),
                                          Pair(uapi::vfio::kFeatureDmaLoggingStop, 0)));
    // An mdev has no page table.
    EXPECT_EQ(space.track_dirty({.from = dma::DirtyFrom::page_tables}).error().code(), EOPNOTSUPP);
}

TEST_F(VfioTest, ALineIsMaskedWhenItFiresAndUnmaskedByCallOrEventfd) {
    const Device device = bind(kEdu);
    ASSERT_TRUE(device.enable());
    const auto bar = device.region(0).value();
    const auto info = device.irq_info(vfio::Irq::intx).value();
    EXPECT_EQ(info.count, 1U);
    EXPECT_TRUE(info.automasked);
    const int fired = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const int handled = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const auto fires = [&](int within_ms) {
        pollfd waiting{.fd = fired, .events = POLLIN, .revents = 0};
        std::uint64_t count = 0;
        return ::poll(&waiting, 1, within_ms) == 1 && ::read(fired, &count, sizeof count) == sizeof count;
    };
    ASSERT_TRUE(device.set_irqs(vfio::Irq::intx, 0, {&fired, 1}));
    ASSERT_TRUE(bar.write<std::uint32_t>(0x60, 1));  // raise
    EXPECT_TRUE(fires(2000));
    EXPECT_FALSE(fires(50)) << "it is masked";
    ASSERT_TRUE(device.unmask(vfio::Irq::intx, 0));
    EXPECT_TRUE(fires(2000)) << "it was not acknowledged";
    ASSERT_TRUE(device.set_unmask_eventfd(vfio::Irq::intx, handled));
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(handled, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    EXPECT_TRUE(fires(2000)) << "the eventfd unmasks as well";
    ASSERT_TRUE(bar.write<std::uint32_t>(0x64, 1));  // acknowledge
    ASSERT_EQ(::write(handled, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    EXPECT_FALSE(fires(50));
    // Only one type at a time.
    EXPECT_EQ(device.set_irqs(vfio::Irq::msi, 0, {&fired, 1}).error().code(), EINVAL);
    EXPECT_TRUE(device.set_unmask_eventfd(vfio::Irq::intx, -1));
    EXPECT_TRUE(device.disable_irqs(vfio::Irq::intx));
    EXPECT_TRUE(device.set_irqs(vfio::Irq::msi, 0, {&fired, 1}));
    EXPECT_TRUE(device.disable_irqs(vfio::Irq::msi));
    ::close(fired);
    ::close(handled);
}

TEST_F(VfioTest, APasidOfADeviceWithoutAnyIsRefusedThoughTheKernelTakesIt) {
    const Device device = bind(kEdu);
    const auto ioas = core::Ioas::alloc(*backend_.context()).value();
    const auto attached = device.attach(ioas.id(), 7);
    EXPECT_EQ(attached.error().code(), EOPNOTSUPP);
    EXPECT_THAT(attached.error().line(), HasSubstr("(PASID 7)"));
}

TEST_F(VfioTest, AGroupThatIsOpenTheOldWayIsNamed) {
    const std::string path = std::string("/sys/bus/pci/devices/") + kEdu + "/iommu_group";
    const std::string group = "/dev/vfio/" + std::filesystem::read_symlink(path).filename().string();
    const int old_way = ::open(group.c_str(), O_RDWR | O_CLOEXEC);
    if (old_way < 0) GTEST_SKIP() << "this kernel has no CONFIG_VFIO_GROUP";
    const auto bound = Cdev::open(kEdu).value().bind(Backend::open().value());
    EXPECT_EQ(bound.error().code(), EBUSY);
    EXPECT_THAT(bound.error().line(), HasSubstr("open the old way, as " + group));
    ::close(old_way);
}

TEST_F(VfioTest, AGroupThatIsNotViableIsListedWithItsDriversUntilItIs) {
    if (!is_there(kGroupedEdu)) GTEST_SKIP() << "the VM has no bridge with two devices";
    auto bound = open(kGroupedEdu).bind(backend_);
    ASSERT_FALSE(bound);
    EXPECT_EQ(bound.error().code(), EPERM);
    EXPECT_THAT(bound.error().line(),
                HasSubstr(std::string("not viable: ") + kGroupedVirtio + " (virtio-pci)"));
    EXPECT_THAT(bound.error().line(), HasSubstr(std::string(kGroupedEdu) + " (vfio-pci)"));
    EXPECT_FALSE(backend_.is_open());
    give_to_vfio(kGroupedVirtio);
    const Device device = bind(kGroupedEdu);
    EXPECT_TRUE(device.id());
}

TEST_F(VfioTest, ALargeBarIsMappedWhereHugePagesFit) {
    if (!is_there(kIvshmem)) GTEST_SKIP() << "the VM has no ivshmem";
    give_to_vfio(kIvshmem);
    const Device device = bind(kIvshmem);
    ASSERT_TRUE(device.enable());
    const auto bar = device.region(2).value();
    ASSERT_THAT(bar.mapped(), ::testing::SizeIs(1));
    const vfio::MappedArea area = bar.mapped()[0];
    EXPECT_EQ(area.size, 4_MiB);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(area.address) % 2_MiB, 0U);
    ASSERT_TRUE(bar.write<std::uint64_t>(4_MiB - 8, 0x1122334455667788));
    std::uint64_t called = 0;
    ASSERT_TRUE(bar.read_bytes(4_MiB - 8, &called, sizeof called));
    EXPECT_EQ(called, 0x1122334455667788U);
}

TEST_F(VfioTest, ADeviceFileThatMayNotBeOpenedIsNamedWithItsPath) {
    const pid_t child = ::fork();
    if (child == 0) {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
        const auto opened = Cdev::open(kEdu);
        const bool as_said = !opened && opened.error().code() == EACCES &&
                             opened.error().line().find("/dev/vfio/devices/vfio") != std::string::npos;
        ::_exit(as_said ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST_F(VfioTest, ADescriptorThatIsBoundAlreadyOrAnotherFilesIsRefused) {
    const Device device = bind(kEdu);
    EXPECT_EQ(Cdev::from(DupFd{device.fd()}).error().code(), EBUSY);
    EXPECT_EQ(Cdev::from(AdoptFd{::open("/dev/null", O_RDWR | O_CLOEXEC)}).error().code(), ENODEV);
    EXPECT_EQ(Cdev::from(DupFd{backend_.context()->fd()}).error().code(), ENODEV);
}

TEST_F(VfioTest, AVfTokenIsRefusedByADeviceThatHasNone) {
    const vfio::VfToken token = vfio::parse_vf_token("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001").value();
    const auto bound = open(kEdu).bind(backend_, token);
    ASSERT_FALSE(bound);
    EXPECT_EQ(bound.error().code(), EINVAL);
    EXPECT_THAT(bound.error().line(), HasSubstr("VF token"));
    const Device nvme = bind(kNvme);
    EXPECT_EQ(vfio::set_vf_token(nvme, token).error().code(), ENOTTY);
}

TEST_F(VfioTest, DestroyIsRefusedWhileARegionKeepsTheDevice) {
    Device device = bind(kNvme);
    {
        const auto bar = device.region(0).value();
        EXPECT_EQ(std::move(device).destroy().error().code(), EBUSY);
    }
    EXPECT_TRUE(std::move(device).destroy());  // NOLINT(bugprone-use-after-move): the handle stayed
    EXPECT_FALSE(backend_.is_open());
}

TEST_F(VfioTest, ADeviceIsFoundByAddressPathAndDescriptorWithTheSameName) {
    const Cdev by_address = Cdev::open("00:10.0").value();
    const Cdev by_path = Cdev::open("/sys/bus/pci/devices/0000:00:10.0/").value();
    const Cdev by_fd = Cdev::from(DupFd{by_address.fd()}).value();
    EXPECT_EQ(by_address.name(), "vfio-pci 0000:00:10.0");
    EXPECT_EQ(by_path.name(), by_address.name());
    EXPECT_EQ(by_fd.name(), by_address.name());
    const Cdev by_uuid = Cdev::open("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001").value();
    EXPECT_EQ(by_uuid.name(), Cdev::open(kMtty).value().name());
}

TEST_F(VfioTest, BadDevicesAreRefusedInOneLineThatSaysWhatToDo) {
    EXPECT_THAT(Cdev::open("nonsense").error().line(), HasSubstr("give an address like 0000:02:00.0"));
    EXPECT_THAT(Cdev::open("0000:55:00.0").error().line(), HasSubstr("list the devices with lspci"));
    EXPECT_THAT(Cdev::open("0000:00:12.0").error().line(), HasSubstr("bound to its host driver pcieport"));
    const int directory = ::open("/", O_RDONLY | O_DIRECTORY);
    EXPECT_THAT(Cdev::from(AdoptFd{directory}).error().line(), HasSubstr("no character device"));
    EXPECT_THAT(Cdev::from(AdoptFd{777}).error().line(), HasSubstr("it is not open"));
    EXPECT_EQ(Cdev::open("/dev/vfio/devices/vfio0").error().code(), ENOTDIR);
}

}  // namespace
}  // namespace iommufd::kernel_tests