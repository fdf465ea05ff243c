// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The VFIO cdev: its life, its regions, its interrupts.
#include <gtest/gtest.h>

#include <array>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vfio;

constexpr const char* kNode = "/dev/vfio/devices/vfio0";
constexpr std::uint32_t kSetEventfd = kIrqSetDataEventfd | kIrqSetTrigger;
constexpr std::uint32_t kFire = kIrqSetDataNone | kIrqSetTrigger;

TEST(ModelVfio, NothingWorksBeforeBind) {
    Bench bench;
    const int cdev = bench.open(kNode);
    sys::Kernel& kernel = bench.kernel();
    uapi::vfio::DeviceInfo info{.argsz = sizeof info};
    EXPECT_EQ(kernel.ioctl(cdev, kDeviceGetInfo, &info), -EINVAL);
    EXPECT_EQ(kernel.ioctl(cdev, request(40), nullptr), -EINVAL);
    EXPECT_EQ(bench.attach(cdev, bench.ioas()), -EINVAL);
    char byte = 0;
    EXPECT_EQ(kernel.pread(cdev, &byte, 1, EduBench::kConfig), -EINVAL);
    EXPECT_EQ(kernel.pwrite(cdev, &byte, 1, EduBench::kConfig), -EINVAL);
    void* address = nullptr;
    EXPECT_EQ(kernel.mmap(&address, kPage, PROT_READ, MAP_SHARED, cdev, 0), -EINVAL);
}

TEST(ModelVfio, BindIsForOneOwnerAtATime) {
    Bench bench;
    const int cdev = bench.open(kNode);
    const int other = bench.open(kNode);
    EXPECT_EQ(bench.bind(cdev), 1);
    EXPECT_EQ(bench.bind(cdev), -EINVAL);
    EXPECT_EQ(bench.bind(other), -EINVAL);
    const int copy = bench.kernel().dup(cdev);
    EXPECT_EQ(bench.close(cdev), 0);
    EXPECT_EQ(bench.bind(other), -EINVAL) << "the copy keeps the device";
    EXPECT_EQ(bench.kernel().close(copy), 0);
    EXPECT_EQ(bench.bind(other), 1);
}

TEST(ModelVfio, BindSaysWhatIsWrong) {
    Bench bench;
    const int cdev = bench.open(kNode);
    const auto bind = [&](DeviceBindIommufd command) {
        return bench.kernel().ioctl(cdev, kDeviceBindIommufd, &command);
    };
    EXPECT_EQ(bind({.argsz = 15, .iommufd = bench.iommufd}), -EINVAL);
    EXPECT_EQ(bind({.argsz = 16, .flags = 2, .iommufd = bench.iommufd}), -EINVAL);
    EXPECT_EQ(bind({.argsz = 16, .iommufd = -1}), -EINVAL);
    EXPECT_EQ(bind({.argsz = 16, .iommufd = 999}), -EBADF);
    const Event event;
    EXPECT_EQ(bind({.argsz = 16, .iommufd = event.number()}), -EBADFD);
    EXPECT_EQ(bind({.argsz = 16, .iommufd = cdev}), -EBADFD);
    EXPECT_EQ(bind({.argsz = 24, .flags = kBindToken, .iommufd = bench.iommufd}), -EINVAL);
    struct {
        DeviceBindIommufd command;
        std::uint64_t tail;
    } longer{{.argsz = sizeof longer, .iommufd = bench.iommufd}, 1};
    EXPECT_EQ(bench.kernel().ioctl(cdev, kDeviceBindIommufd, &longer), -E2BIG);
    EXPECT_EQ(bind({.argsz = 16, .iommufd = bench.iommufd}), 0);
}

TEST(ModelVfio, DescribesItselfAsVfioPciDoes) {
    EduBench bench;
    sys::Kernel& kernel = bench.kernel();
    uapi::vfio::DeviceInfo info{.argsz = sizeof info};
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetInfo, &info), 0);
    EXPECT_EQ(info.flags, kDeviceFlagPci);
    EXPECT_EQ(info.num_regions, 9U);
    EXPECT_EQ(info.num_irqs, 5U);
    info.argsz = 15;
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetInfo, &info), -EINVAL);

    const std::array<std::uint64_t, 8> sizes = {1U << 20, 0, 0, 0, 0, 0, 0, 256};
    for (std::uint32_t index = 0; index < sizes.size(); ++index) {
        RegionInfo region{.argsz = sizeof region, .index = index};
        EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetRegionInfo, &region), 0);
        EXPECT_EQ(region.size, sizes[index]);
        EXPECT_EQ(region.offset, std::uint64_t{index} << 40);
        EXPECT_EQ(region.flags, sizes[index] == 0 ? 0U : kRegionRead | kRegionWrite)
            << "no mmap of registers";
    }
    RegionInfo vga{.argsz = sizeof vga, .index = kPciVga};
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetRegionInfo, &vga), -EINVAL);

    const std::array<std::uint32_t, 5> counts = {1, 1, 0, 1, 1};
    for (std::uint32_t index = 0; index < counts.size(); ++index) {
        IrqInfo irq{.argsz = sizeof irq, .index = index};
        EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetIrqInfo, &irq), 0);
        EXPECT_EQ(irq.count, counts[index]);
        EXPECT_EQ(irq.flags, index == kPciIntx ? 7U : 9U);
    }
    IrqInfo none{.argsz = sizeof none, .index = 5};
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetIrqInfo, &none), -EINVAL);

    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceReset, nullptr), -EINVAL);
    PciHotResetInfo hot{.argsz = sizeof hot};
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceGetPciHotResetInfo, &hot), -ENODEV);
    hot.argsz = 8;
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDevicePciHotReset, &hot), -EINVAL);
    EXPECT_EQ(kernel.ioctl(bench.cdev, request(40), nullptr), -ENOTTY);
    DeviceFeature feature{.argsz = sizeof feature, .flags = kFeatureMigration | kFeatureGet | kFeatureProbe};
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceFeature, &feature), -ENOTTY);
    feature.flags = kFeatureMigration | kFeatureGet | kFeatureSet;
    EXPECT_EQ(kernel.ioctl(bench.cdev, kDeviceFeature, &feature), -EINVAL);
}

TEST(ModelVfio, ConfigurationSpaceHasAHeaderAnMsiCapabilityAndReadOnlyBits) {
    EduBench bench;
    constexpr std::uint64_t kConfig = EduBench::kConfig;
    EXPECT_EQ(bench.get<std::uint32_t>(kConfig), 0x11e81234U);
    bench.put<std::uint32_t>(kConfig, 0);
    EXPECT_EQ(bench.get<std::uint32_t>(kConfig), 0x11e81234U);
    EXPECT_EQ(bench.get<std::uint32_t>(kConfig + 8), 0x00ff0010U);
    bench.put<std::uint32_t>(kConfig + 0x10, ~0U);
    EXPECT_EQ(bench.get<std::uint32_t>(kConfig + 0x10), 0xfff00000U) << "a megabyte";
    const auto capability = bench.get<std::uint8_t>(kConfig + 0x34);
    EXPECT_EQ(bench.get<std::uint8_t>(kConfig + capability), 5U);
    char byte = 0;
    EXPECT_EQ(bench.kernel().pread(bench.cdev, &byte, 1, kConfig + 256), -EFAULT);
    std::array<char, 8> bytes{};
    EXPECT_EQ(bench.kernel().pread(bench.cdev, bytes.data(), 8, kConfig + 252), -EFAULT);
}

TEST(ModelVfio, RegionsEndWhereTheyEnd) {
    EduBench bench;
    std::array<char, 8> bytes{};
    sys::Kernel& kernel = bench.kernel();
    EXPECT_EQ(kernel.pread(bench.cdev, bytes.data(), 8, (1 << 20) - 4), 4);
    EXPECT_EQ(kernel.pread(bench.cdev, bytes.data(), 8, 1 << 20), -EINVAL);
    EXPECT_EQ(kernel.pread(bench.cdev, bytes.data(), 0, 0), 0);
    EXPECT_EQ(kernel.pread(bench.cdev, bytes.data(), 4, 1ULL << 40), -EINVAL);
    EXPECT_EQ(kernel.pread(bench.cdev, bytes.data(), 4, 12ULL << 40), -EINVAL);
    EXPECT_EQ(kernel.pread(bench.cdev, nullptr, 4, 0), -EFAULT);
    bench.set_command(0x104);
    EXPECT_EQ(kernel.pread(bench.cdev, bytes.data(), 4, 0), -EIO) << "its memory is disabled";
}

TEST(ModelVfio, MessagesAreSetTriggeredAndTakenBack) {
    EduBench bench;
    const Event event;
    const Event other;
    EXPECT_EQ(bench.irq(kFire, kPciMsi, 1), -EINVAL);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 2, event.number()), -EINVAL);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, 999), -EBADF);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, bench.cdev), -EINVAL);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsix, 1, event.number()), -EINVAL);
    EXPECT_EQ(bench.irq(kIrqSetDataNone | kIrqSetMask, kPciMsi, 1), -ENOTTY);
    EXPECT_EQ(bench.irq(kFire | kIrqSetMask, kPciMsi, 1), -ENOTTY);
    EXPECT_EQ(bench.irq(kSetEventfd | kIrqSetDataNone, kPciMsi, 1, event.number()), -EINVAL);
    EXPECT_EQ(bench.irq(1U << 6 | kFire, kPciMsi, 1), -EINVAL);

    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    EXPECT_EQ(bench.irq(kFire, kPciMsi, 1), 0);
    EXPECT_EQ(event.count(), 1U);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciIntx, 1, event.number()), -EINVAL) << "one kind at a time";
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, other.number()), 0);
    bench.put<std::uint32_t>(0x60, 1);
    EXPECT_EQ(event.count(), 0U);
    EXPECT_EQ(other.count(), 1U);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, -1), 0);
    bench.put<std::uint32_t>(0x60, 1);
    EXPECT_EQ(other.count(), 0U);
    EXPECT_EQ(bench.irq(kFire, kPciMsi, 0), 0) << "all off";
    EXPECT_EQ(bench.irq(kFire, kPciMsi, 0), -EINVAL);
    EXPECT_EQ(bench.irq(kSetEventfd, kPciIntx, 1, event.number()), 0);
}

TEST(ModelVfio, TheOwnerIsAskedForTheDeviceByTheRequestInterrupt) {
    EduBench bench;
    const Event event;
    EXPECT_FALSE(bench.machine.request_device("0000:00:10.0")) << "nobody listens";
    EXPECT_EQ(bench.irq(kSetEventfd, kPciReq, 1, event.number()), 0);
    EXPECT_TRUE(bench.machine.request_device("0000:00:10.0"));
    EXPECT_EQ(event.count(), 1U);
    EXPECT_FALSE(bench.machine.request_device("0000:00:11.0"));
    EXPECT_EQ(bench.irq(kFire, kPciReq, 1), 0);
    EXPECT_EQ(event.count(), 1U);
    EXPECT_EQ(bench.irq(kFire, kPciReq, 0), 0);
    EXPECT_FALSE(bench.machine.request_device("0000:00:10.0"));
}

TEST(ModelVfio, ClosingTakesEverythingDown) {
    EduBench bench;
    const Event event;
    const Memory memory(kPage);
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000), 0);
    ASSERT_EQ(bench.irq(kSetEventfd, kPciMsi, 1, event.number()), 0);
    EXPECT_EQ(bench.close(bench.cdev), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, 0U);
    EXPECT_EQ(bench.machine.leaks().devices, 0U);
    EXPECT_EQ(bench.machine.leaks().objects, 1U) << "the IOAS";
    EXPECT_EQ(bench.destroy(ioas), 0);
    EXPECT_EQ(bench.close(bench.iommufd), 0);
    EXPECT_FALSE(bench.machine.leaks().any()) << bench.machine.leaks().text();
}

TEST(ModelVfio, AttachWithAPasidNeedsAnHwptForIt) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    DeviceAttachIommufdPt command{.argsz = 16, .flags = kAttachPasid, .pt_id = ioas, .pasid = 1};
    EXPECT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceAttachIommufdPt, &command), -EINVAL);
    command = {.argsz = 11, .flags = 0, .pt_id = ioas};
    EXPECT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceAttachIommufdPt, &command), -EINVAL);
    command = {.argsz = 16, .flags = 2, .pt_id = ioas};
    EXPECT_EQ(bench.kernel().ioctl(bench.cdev, kDeviceAttachIommufdPt, &command), -EINVAL);
    EXPECT_EQ(bench.detach(bench.cdev), 0) << "not attached";
}

}  // namespace
}  // namespace iommufd::model::testing
