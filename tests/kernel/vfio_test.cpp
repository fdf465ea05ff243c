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
#include <fstream>
#include <numeric>
#include <thread>

#include "drivers/edu.hpp"
#include "drivers/nvme.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/host/process.hpp"
#include "iommufd/vfio/features.hpp"
#include "iommufd/vfio/region.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::kernel_tests {
namespace {

using namespace std::chrono_literals;
using dma::Memory;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using vfio::Cdev;
using vfio::Device;

constexpr const char* kEdu = "0000:00:10.0";
constexpr const char* kNvme = "0000:00:11.0";
constexpr const char* kIgb = "0000:01:00.0";
constexpr const char* kMtty = "/sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
// With the VM's `--qemu "-device pcie-pci-bridge,..."`: a second edu that shares its group with a virtio
// device.
constexpr const char* kGroupedEdu = "0000:02:01.0";
constexpr const char* kGroupedVirtio = "0000:02:02.0";
// And an ivshmem with a BAR of 4 MiB.
constexpr const char* kIvshmem = "0000:00:15.0";
constexpr Iova kBase{0x4000000};

std::uint64_t pinned() { return host::process(sys::host_kernel()).value().pinned; }

class VfioTest : public ::testing::Test {
protected:
    void TearDown() override {
        EXPECT_FALSE(backend_.is_open());
        EXPECT_EQ(pinned(), 0U);
        EXPECT_EQ(backend_.notices(), 0U);
    }

    static Cdev open(const char* where) {
        return Cdev::open(where, {.kernel = &Recorder::instance(), .name = {}}).value();
    }
    Device bind(const char* where) { return open(where).bind(backend_).value(); }

    Backend backend_ =
        Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &Recorder::instance()}).value();
    dma::Space space_ = dma::Space::on(backend_, {.id = "dma0"}).value();
    Memory memory_ = Memory::memfd(4_MiB, {.label = "ram"}).value();
};

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }
bool is_there(const char* device) { return exists(std::string("/sys/bus/pci/devices/") + device); }

void write_to(const std::string& path, std::string_view text) { std::ofstream(path) << text; }

void give_to_vfio(const std::string& device) {
    const std::string folder = "/sys/bus/pci/devices/" + device;
    if (exists(folder + "/driver")) write_to(folder + "/driver/unbind", device);
    write_to(folder + "/driver_override", "vfio-pci");
    write_to("/sys/bus/pci/drivers_probe", device);
}

void fill(std::span<std::byte> bytes, unsigned seed) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + seed + (i >> 8));
}

TEST_F(VfioTest, EduMovesBytesBothWaysAndInterrupts) {
    const Device device = bind(kEdu);
    device.set_dma_bits(drivers::Edu::kKind.dma_bits);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    auto edu = drivers::Edu::start(device).value();
    EXPECT_THAT(edu.identify().value(), HasSubstr("QEMU edu"));
    fill(memory_.bytes().first(64_KiB), 1);
    ASSERT_TRUE(edu.copy(kBase + 1_MiB, kBase, 64_KiB));
    EXPECT_EQ(std::memcmp(memory_.data(), memory_.data() + 1_MiB, 64_KiB), 0);
    EXPECT_EQ(edu.interrupts(), 32U);  // 16 pages, in and out
}

TEST_F(VfioTest, EduCantReachWhatIsNotMappedAnyMore) {
    const Device device = bind(kEdu);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase, .length = 1_MiB}).value();
    auto edu = drivers::Edu::start(device).value();
    auto hole =
        std::optional(space_.map(memory_, {.iova = kBase + 1_MiB, .offset = 1_MiB, .length = 1_MiB}).value());
    fill(memory_.bytes(), 3);
    hole.reset();
    const std::vector<std::byte> before(memory_.bytes().begin(), memory_.bytes().end());
    ASSERT_TRUE(edu.read_memory(kBase, 4_KiB));
    ASSERT_TRUE(edu.write_memory(kBase + 1_MiB, 4_KiB));  // blocked: the memory behind it stays
    EXPECT_EQ(std::memcmp(memory_.data(), before.data(), before.size()), 0);
    ASSERT_TRUE(edu.read_memory(kBase + 1_MiB, 4_KiB));  // blocked: the card gets none of it
    ASSERT_TRUE(edu.write_memory(kBase, 4_KiB));
    EXPECT_NE(std::memcmp(memory_.data(), before.data() + 1_MiB, 4_KiB), 0);
}

TEST_F(VfioTest, EduRefusesAddressesWiderThanItsOwn) {
    const Device device = bind(kEdu);
    const auto attached = space_.attach(device).value();
    auto edu = drivers::Edu::start(device).value();
    EXPECT_EQ(edu.read_memory(Iova{0x10000000}, 4096).error().code(), EINVAL);
}

TEST_F(VfioTest, NvmeIdentifiesWritesReadsAndFlushesWithInterrupts) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const drivers::Window window{.memory = memory_.data(), .iova = kBase, .size = 64_KiB};
    const auto disk = drivers::Nvme::start(device, window).value();
    EXPECT_THAT(disk->identify().value(), HasSubstr("serial iommufd, 64 MiB"));
    const auto out = memory_.bytes().subspan(64_KiB, 1_MiB);
    const auto in = memory_.bytes().subspan(2_MiB, 1_MiB);
    fill(out, 9);
    ASSERT_TRUE(disk->write(8192, kBase + 64_KiB, out.size()));
    ASSERT_TRUE(disk->flush());
    ASSERT_TRUE(disk->read(8192, kBase + 2_MiB, in.size()));
    EXPECT_EQ(std::memcmp(out.data(), in.data(), in.size()), 0);
    EXPECT_GT(disk->interrupts(), 4U);
    EXPECT_EQ(disk->read(64_MiB, kBase, 512).error().code(), ERANGE);
    EXPECT_EQ(disk->read(1, kBase, 512).error().code(), EINVAL);
}

// What the controller says of a blocked DMA is its own affair (QEMU's reports success); the memory shows it.
TEST_F(VfioTest, NvmeCantReachWhatIsNotMappedAnyMoreAndGoesOn) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase, .length = 1_MiB}).value();
    auto hole =
        std::optional(space_.map(memory_, {.iova = kBase + 1_MiB, .offset = 1_MiB, .length = 1_MiB}).value());
    const auto disk =
        drivers::Nvme::start(device, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    fill(memory_.bytes().subspan(64_KiB), 7);
    ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 4_KiB));
    hole.reset();
    const std::vector<std::byte> before(memory_.bytes().begin() + 1_MiB, memory_.bytes().end());
    (void)disk->read(0, kBase + 1_MiB, 4_KiB);
    EXPECT_EQ(std::memcmp(memory_.data() + 1_MiB, before.data(), before.size()), 0);
    EXPECT_TRUE(disk->read(0, kBase + 128_KiB, 4_KiB));
    EXPECT_EQ(std::memcmp(memory_.data() + 64_KiB, memory_.data() + 128_KiB, 4_KiB), 0);
}

TEST_F(VfioTest, TwoDevicesShareOneSpaceAndOnePageTable) {
    const Device edu_device = bind(kEdu);
    const Device nvme_device = bind(kNvme);
    edu_device.set_dma_bits(28);
    const auto edu_attached = space_.attach(edu_device).value();
    const auto nvme_attached = space_.attach(nvme_device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    auto edu = drivers::Edu::start(edu_device).value();
    const auto disk =
        drivers::Nvme::start(nvme_device, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    fill(memory_.bytes().subspan(64_KiB, 4_KiB), 5);
    ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 4_KiB));
    ASSERT_TRUE(disk->read(0, kBase + 128_KiB, 4_KiB));
    ASSERT_TRUE(edu.copy(kBase + 1_MiB, kBase + 128_KiB, 4_KiB));
    EXPECT_EQ(std::memcmp(memory_.data() + 64_KiB, memory_.data() + 1_MiB, 4_KiB), 0);
    EXPECT_THAT(space_.mappings(), ::testing::SizeIs(1));
    // edu's width holds for the space as long as edu is in it.
    EXPECT_EQ(space_.map(memory_, {.iova = Iova{0x20000000}}).error().code(), EINVAL);
}

TEST_F(VfioTest, WhileOneThreadMapsTwoGigabytesOthersFinishBeforeItDoes) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase, .length = 64_KiB}).value();
    auto large = Memory::memfd(2_GiB, {.label = "large"});
    ASSERT_TRUE(large) << large.error().text();
    std::atomic<bool> done = false;
    std::thread mapping([&] {
        const auto big = space_.map(*large, {.iova = Iova{0x100000000}});
        EXPECT_TRUE(big) << big.error().text();
        done = true;
    });
    while (space_.mappings().size() < 2) std::this_thread::yield();
    unsigned rounds = 0;
    auto reader = space_.reader();
    while (!done && rounds < 50) {
        EXPECT_FALSE(space_.limits().ranges.empty());
        EXPECT_FALSE(reader.enter().translate(kBase, 1, Access::read).empty());
        const auto other = space_.map(memory_, {.offset = 1_MiB, .length = 64_KiB});
        EXPECT_TRUE(other) << other.error().text();
        ++rounds;
    }
    EXPECT_FALSE(done) << "all " << rounds << " rounds finished before the large map did";
    EXPECT_EQ(rounds, 50U);
    mapping.join();
}

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
    EXPECT_THAT(gone.error().line(), HasSubstr("(it is bound to no driver); run: echo vfio-pci >"));
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

TEST_F(VfioTest, ABarIsExportedAsADmaBufAndMappedForAnotherDevice) {
    const Device nvme = bind(kNvme);
    ASSERT_TRUE(nvme.enable());
    if (!vfio::has_feature(nvme, vfio::Feature::dma_buf, vfio::FeatureUse::get))
        GTEST_SKIP() << "needs Linux 6.19";
    const int buffer = vfio::export_dma_buf(nvme, 0, 0, 4096).value();
    const Device edu = bind(kEdu);
    const auto ioas = core::Ioas::alloc(*backend_.context()).value();
    ASSERT_TRUE(edu.attach(ioas.id()));
    EXPECT_EQ(ioas.map_file(buffer, 0, 4096, Access::read, kBase).value(), kBase);
    EXPECT_EQ(ioas.unmap(kBase, 4096).value(), 4096U);
    ASSERT_TRUE(edu.detach());
    ::close(buffer);
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

TEST_F(VfioTest, NvmeTakesDataThatStartsAnywhereInAPageAndSpansAsManyAsItLikes) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const auto disk =
        drivers::Nvme::start(device, {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}).value();
    std::uint64_t seed = 0;
    for (const std::uint64_t start : {0x0U, 0x4U, 0x200U, 0xffcU})
        for (const std::uint64_t length : {512UL, 4_KiB, 8_KiB, 8_KiB + 512, 520_KiB}) {
            const std::uint64_t from = 64_KiB + start;
            const std::uint64_t to = 2_MiB + start;
            fill(memory_.bytes().subspan(from, length), static_cast<unsigned>(++seed));
            fill(memory_.bytes().subspan(to, length), 0);
            ASSERT_TRUE(disk->write(0, kBase + from, length));
            ASSERT_TRUE(disk->read(0, kBase + to, length));
            ASSERT_EQ(std::memcmp(memory_.data() + from, memory_.data() + to, length), 0)
                << start << " " << length;
        }
    EXPECT_EQ(disk->read(0, kBase + 2, 512).error().code(), EINVAL);
    EXPECT_EQ(disk->read(0, kBase, 0).error().code(), EINVAL);
    EXPECT_EQ(disk->read(~std::uint64_t{0} << 9, kBase, 512).error().code(), ERANGE);
}

TEST_F(VfioTest, NvmeShutsDownAndStartsAgain) {
    const Device device = bind(kNvme);
    const auto attached = space_.attach(device).value();
    const auto mapped = space_.map(memory_, {.iova = kBase}).value();
    const drivers::Window window{.memory = memory_.data(), .iova = kBase, .size = 64_KiB};
    for (unsigned round = 0; round < 2; ++round) {
        const auto disk = drivers::Nvme::start(device, window).value();
        ASSERT_TRUE(disk->write(0, kBase + 64_KiB, 4_KiB));
        EXPECT_TRUE(disk->stop());
        // Shut down and disabled, as the controller's own registers say.
        const auto bar = device.region(0).value();
        EXPECT_EQ(bar.read<std::uint32_t>(0x14).value() & 1, 0U);
        EXPECT_EQ(bar.read<std::uint32_t>(0x1c).value() & 1, 0U);
        EXPECT_EQ(disk->write(0, kBase + 64_KiB, 4_KiB).error().code(), ESHUTDOWN);
        EXPECT_EQ(disk->flush().error().code(), ESHUTDOWN);
        EXPECT_TRUE(disk->stop());
    }
    EXPECT_EQ(
        drivers::Nvme::start(device, {.memory = memory_.data(), .iova = kBase, .size = 4_KiB}).error().code(),
        EINVAL);
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
