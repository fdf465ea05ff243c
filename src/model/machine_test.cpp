// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The machine as a whole: how devices are found, whose descriptor is whose, and what was left.
#include "iommufd/model/machine.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <thread>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

TEST(ModelMachine, DevicesAreFoundInSysfsAsOnLinux) {
    Bench bench;
    sys::Kernel& kernel = bench.kernel();
    const std::string pci = "/sys/bus/pci/devices/0000:00:10.0";
    std::string text;
    EXPECT_EQ(kernel.read_file((pci + "/vendor").c_str(), text), 0);
    EXPECT_EQ(text, "0x1234\n");
    EXPECT_EQ(kernel.readlink((pci + "/driver").c_str(), text), 0);
    EXPECT_TRUE(text.ends_with("/vfio-pci")) << text;
    EXPECT_EQ(kernel.readlink((pci + "/iommu_group").c_str(), text), 0);
    EXPECT_TRUE(text.ends_with("/iommu_groups/0")) << text;
    std::vector<std::string> names;
    EXPECT_EQ(kernel.readdir((pci + "/iommu_group/devices").c_str(), names), 0);
    EXPECT_EQ(names, std::vector<std::string>{"0000:00:10.0"});
    EXPECT_EQ(kernel.readdir((pci + "/vfio-dev").c_str(), names), 0);
    EXPECT_EQ(names, std::vector<std::string>{"vfio0"});
    EXPECT_EQ(kernel.read_file((pci + "/vfio-dev/vfio0/dev").c_str(), text), 0);

    sys::FileStatus by_path{};
    sys::FileStatus by_fd{};
    EXPECT_EQ(kernel.stat("/dev/vfio/devices/vfio0", by_path), 0);
    EXPECT_TRUE(S_ISCHR(by_path.mode));
    EXPECT_EQ(text,
              std::to_string(major(by_path.device)) + ":" + std::to_string(minor(by_path.device)) + "\n");
    EXPECT_EQ(kernel.fstat(bench.open("/dev/vfio/devices/vfio0"), by_fd), 0);
    EXPECT_TRUE(S_ISCHR(by_fd.mode));
    EXPECT_EQ(by_fd.device, by_path.device);
    text.pop_back();
    EXPECT_EQ(kernel.readlink(("/sys/dev/char/" + text).c_str(), text), 0);
    EXPECT_TRUE(text.ends_with("/vfio-dev/vfio0")) << text;

    EXPECT_EQ(kernel.readdir("/sys/bus/vdpa/devices/blk0", names), 0);
    EXPECT_TRUE(std::ranges::find(names, "vhost-vdpa-0") != names.end());
    EXPECT_EQ(kernel.readdir("/sys/class/iommu", names), 0);
    EXPECT_EQ(names, std::vector<std::string>{"dmar0"});
    EXPECT_EQ(kernel.stat("/sys/bus/pci/devices/0000:00:12.0", by_path), -ENOENT) << "not the host's either";
    EXPECT_EQ(kernel.open("/dev/vfio/devices/vfio2", O_RDWR), -ENOENT);
    EXPECT_EQ(kernel.open("/sys/bus/pci/devices", O_RDONLY), -EISDIR);

    const int fd = kernel.open((pci + "/device").c_str(), O_RDONLY);
    char content[8] = {};
    EXPECT_EQ(kernel.read(fd, content, sizeof content), 7);
    EXPECT_STREQ(content, "0x11e8\n");
    EXPECT_EQ(kernel.close(fd), 0);
}

TEST(ModelMachine, OtherPathsAndDescriptorsAreTheHosts) {
    Bench bench;
    sys::Kernel& kernel = bench.kernel();
    sys::FileStatus here{};
    sys::FileStatus host{};
    EXPECT_EQ(kernel.stat("/dev/null", here), 0);
    EXPECT_EQ(sys::host_kernel().stat("/dev/null", host), 0);
    EXPECT_EQ(here.device, host.device);
    const int fd = kernel.open("/dev/zero", O_RDWR);
    char byte = 1;
    EXPECT_EQ(kernel.read(fd, &byte, 1), 1);
    EXPECT_EQ(byte, 0);
    EXPECT_EQ(kernel.ioctl(fd, uapi::kIoasAlloc, nullptr), -ENOTTY);
    EXPECT_EQ(kernel.close(fd), 0);
    EXPECT_EQ(kernel.close(fd), -EBADF);
}

TEST(ModelMachine, ADuplicateIsTheSameFileHoweverItWasMade) {
    Bench bench;
    EXPECT_EQ(bench.ioas(), 1U);
    const int copy = bench.kernel().dup(bench.iommufd);
    const int plain = ::fcntl(copy, F_DUPFD_CLOEXEC, 0);
    uapi::Destroy command{.size = sizeof command, .id = 1};
    EXPECT_EQ(bench.kernel().ioctl(plain, uapi::kDestroy, &command), 0);
    EXPECT_EQ(bench.close(bench.iommufd), 0);
    EXPECT_EQ(bench.kernel().close(copy), 0);
    EXPECT_EQ(bench.machine.leaks().contexts, 1U);
    EXPECT_EQ(bench.kernel().close(plain), 0);
    EXPECT_FALSE(bench.machine.leaks().any());
}

TEST(ModelMachine, DescriptorsAreCloseOnExecAndAlwaysReady) {
    Bench bench;
    EXPECT_EQ(::fcntl(bench.iommufd, F_GETFD), FD_CLOEXEC);
    pollfd polled{.fd = bench.iommufd, .events = POLLIN | POLLOUT, .revents = 0};
    EXPECT_EQ(bench.kernel().poll({&polled, 1}, 0), 1);
    EXPECT_EQ(polled.revents, POLLIN | POLLOUT);
}

TEST(ModelMachine, LeaksSayWhatIsLeft) {
    EduBench bench;
    const Memory memory(2 * kPage);
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), 0x1000), 0);
    const int vdpa = bench.open("/dev/vhost-vdpa-0");
    EXPECT_EQ(bench.machine.leaks().text(),
              "3 descriptors, 1 context, 3 objects, 1 mapping, 2 devices, 8192 pinned bytes");
    EXPECT_EQ(bench.close(vdpa), 0);
    EXPECT_EQ(bench.close(bench.cdev), 0);
    EXPECT_EQ(bench.close(bench.iommufd), 0);
    EXPECT_EQ(bench.machine.leaks().text(), "nothing");
}

TEST(ModelMachine, EndsWellWithEverythingStillOpen) {
    Machine machine;
    sys::Kernel& kernel = machine.kernel();
    int fd = kernel.open("/dev/iommu", O_RDWR);
    const int cdev = kernel.open("/dev/vfio/devices/vfio0", O_RDWR);
    uapi::vfio::DeviceBindIommufd bind{.argsz = sizeof bind, .iommufd = fd};
    EXPECT_EQ(kernel.ioctl(cdev, uapi::vfio::kDeviceBindIommufd, &bind), 0);
    EXPECT_GE(kernel.open("/dev/vhost-vdpa-0", O_RDWR), 0);
}

TEST(ModelMachine, HasTheDevicesThatItsDescriptionNames) {
    const Description description =
        parse("devices=edu,edu:name=0000:01:00.0,vdpa-blk:name=disk:size=1M").value();
    const Machine machine(description);
    const std::vector<Device> devices = machine.devices();
    ASSERT_EQ(devices.size(), 3U);
    EXPECT_EQ(devices[0].name, "0000:00:10.0");
    EXPECT_EQ(devices[0].node, "/dev/vfio/devices/vfio0");
    EXPECT_EQ(devices[1].name, "0000:01:00.0");
    EXPECT_EQ(devices[1].node, "/dev/vfio/devices/vfio1");
    EXPECT_EQ(devices[2].name, "disk");
    EXPECT_EQ(devices[2].kind, DeviceKind::vdpa_blk);
}

TEST(ModelMachine, AnotherApertureCanBeDescribed) {
    Description description = everything();
    description.iova_ranges = {{0x10000, 0x7fffffffff}};
    EduBench bench(description);
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const std::vector<IovaRange> ranges = bench.ranges(ioas);
    ASSERT_EQ(ranges.size(), 1U);
    EXPECT_EQ(ranges[0].first, 0x10000U);
    EXPECT_EQ(ranges[0].last, 0x7fffffffffU);
}

// Maps, DMA, attach and detach at once: for the thread sanitizer, and for the counts at the end.
TEST(ModelMachine, AnyCallsMayRunAtOnce) {
    Description description;
    description.devices = {{}, {}};
    EduBench bench(description);
    const int second = bench.open("/dev/vfio/devices/vfio1");
    ASSERT_GT(bench.bind(second), 0);
    const std::uint32_t ioas = bench.ioas();
    const Memory memory(16 * kPage);
    constexpr int kRounds = 200;
    const auto mapper = [&](std::uint64_t iova) {
        for (int round = 0; round < kRounds; ++round) {
            EXPECT_EQ(bench.map(ioas, memory.address(), memory.size(), iova), 0);
            EXPECT_EQ(bench.unmap(ioas, iova, memory.size()), static_cast<std::int64_t>(memory.size()));
        }
    };
    std::thread one(mapper, 0x100000);
    std::thread two(mapper, 0x200000);
    std::thread attacher([&] {
        for (int round = 0; round < kRounds; ++round) {
            EXPECT_GT(bench.attach(bench.cdev, ioas), 0);
            bench.read_memory(0x100000, kPage);
            EXPECT_EQ(bench.detach(bench.cdev), 0);
        }
    });
    for (int round = 0; round < kRounds; ++round) {
        EXPECT_GT(bench.attach(second, ioas), 0);
        EXPECT_EQ(bench.detach(second), 0);
    }
    one.join();
    two.join();
    attacher.join();
    const Leaks leaks = bench.machine.leaks();
    EXPECT_EQ(leaks.mappings, 0U);
    EXPECT_EQ(leaks.pinned, 0U);
    EXPECT_EQ(leaks.objects, 3U);
}

}  // namespace
}  // namespace iommufd::model::testing
