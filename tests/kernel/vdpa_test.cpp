// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// vhost-vdpa and the disk driver on a real kernel, with its simulator of a block device (vdpasim). Run in the
// VM, once as it is and once with `--append vdpa_sim.use_va=0`: the simulator then pins pages as hardware
// does.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "drivers/virtio_blk.hpp"
#include "iommufd/dma/memory.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/vdpa/device.hpp"
#include "kernel/kernel_under_test.hpp"
#include "kernel/recorder.hpp"
#include "sys/kernel.hpp"

namespace iommufd {
namespace {

using dma::Memory;
using dma::Piece;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using vdpa::BackendFeature;

constexpr const char* kNode = "/dev/vhost-vdpa-0";
constexpr Iova kBase{0x4000000};

// Raised for the whole program: 8 MiB is what Linux gives, and a device that pins needs more.
const bool raised = [] {
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    return ::setrlimit(RLIMIT_MEMLOCK, &none) == 0;
}();

std::uint64_t parameter(const char* name) {
    std::ifstream file(std::string("/sys/module/") + name);
    std::uint64_t value = 0;
    file >> value;
    return value;
}

using kernel_tests::pinned;

Piece piece_of(const Memory& memory, Iova iova, std::uint64_t offset, std::uint64_t length) {
    return {.iova = iova,
            .length = length,
            .address = memory.data() + offset,
            .fd = memory.fd(),
            .fd_offset = memory.fd_offset() + offset,
            .shared = memory.is_shared(),
            .access = Access::read_write,
            .label = memory.label()};
}

Piece piece_of(const Memory& memory, Iova iova) { return piece_of(memory, iova, 0, memory.size()); }

class Vdpa : public testing::Test {
protected:
    void SetUp() override {
        if (!std::filesystem::exists(kNode)) GTEST_SKIP() << "there is no " << kNode << ": run in the VM";
    }

    void open(vdpa::Device::Options options = {}) {
        options.kernel = &kernel_tests::Recorder::instance();
        device_.emplace(vdpa::Device::open(kNode, std::move(options)).value());
    }

    dma::Sink& sink() { return *device_->attachable()->sink(); }

    // Skips a test that is about the other kind of device.
    bool is_kind(bool uses_addresses) const { return device_->uses_addresses() == uses_addresses; }

    std::optional<vdpa::Device> device_;
};

#define NEEDS_ADDRESSES() \
    if (!is_kind(true)) GTEST_SKIP() << "the device pins pages (vdpa_sim.use_va=0)"
#define NEEDS_PINS() \
    if (!is_kind(false)) GTEST_SKIP() << "the device uses addresses (vdpa_sim.use_va=1)"

std::vector<std::byte> pattern(std::size_t length, unsigned seed) {
    std::vector<std::byte> bytes(length);
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 251 + seed);
    return bytes;
}

// A disk in memory that is mapped at kBase: the driver's window first, data from 64 KiB on.
constexpr std::uint64_t kData = 64 << 10;

Result<drivers::VirtioBlk> start_disk(vdpa::Device& device, const Memory& memory) {
    return drivers::VirtioBlk::start(device, {memory.data(), kBase, kData},
                                     {.timeout = std::chrono::milliseconds(3000)});
}

// Writes to the disk and reads it back through other memory.
void expect_io(drivers::VirtioBlk& disk, const Memory& memory, unsigned seed) {
    constexpr std::uint64_t kLength = 300 << 10;  // several requests of several segments
    const auto sent = pattern(kLength, seed);
    std::byte* const from = memory.data() + kData;
    std::byte* const to = from + kLength;
    std::memcpy(from, sent.data(), kLength);
    std::memset(to, 0, kLength);
    disk.write(4096, kBase + kData, kLength).value();
    disk.flush().value();
    disk.read(4096, kBase + kData + kLength, kLength).value();
    EXPECT_EQ(std::memcmp(to, sent.data(), kLength), 0);
}

TEST_F(Vdpa, TellsWhatTheDeviceIs) {
    open();
    EXPECT_EQ(device_->name(), "vhost-vdpa /dev/vhost-vdpa-0");
    EXPECT_EQ(device_->device_id(), 2U);
    EXPECT_TRUE(device_->has(BackendFeature::message_v2));
    EXPECT_TRUE(device_->has(BackendFeature::batch));
    EXPECT_EQ(device_->address_space_count(), 1U);
    EXPECT_EQ(device_->group_count(), 1U);
    EXPECT_EQ(device_->iova_range(), (Range{Iova{0}, Iova{~0ULL}}));
    EXPECT_EQ(device_->queue_count().value(), 1U);
    EXPECT_EQ(device_->max_queue_size().value(), 256);
    EXPECT_EQ(device_->status().value(), 0);
    EXPECT_EQ(device_->vring(0).group().value(), 0U);
    EXPECT_EQ(device_->vring(1).base().error().code(), ENOBUFS);
    EXPECT_EQ(device_->vring(0).set_size(3).error().code(), EINVAL);
    device_->set_config_call(-1).value();
    const auto size = device_->config_size().value();
    std::vector<std::byte> config(size);
    device_->read_config(0, config).value();
    EXPECT_EQ(device_->read_config(size, config).error().code(), EINVAL);
    device_->write_config(0, config).value();
    // Without DRIVER_OK there is nothing to stop.
    device_->suspend().value();
    device_->resume().value();
}

TEST_F(Vdpa, TheProbeAgreesWithTheModuleParameter) {
    open();
    std::ifstream file("/sys/module/vdpa_sim/parameters/use_va");
    char use_va = '?';
    file >> use_va;
    EXPECT_EQ(device_->uses_addresses(), use_va == 'Y');
    EXPECT_EQ(pinned(), 0U);
}

TEST_F(Vdpa, ReadsAndWritesADiskThroughAMemfd) {
    open();
    const auto memory = Memory::memfd(64_MiB).value();
    sink().map(piece_of(memory, kBase)).value();
    auto disk = start_disk(*device_, memory).value();
    const auto identity = disk.identify().value();
    EXPECT_THAT(identity.serial, testing::AnyOf("vdpa_blk_sim", "vdpa_blk_model"));
    EXPECT_EQ(identity.capacity, 128_MiB);
    EXPECT_EQ(identity.block_size, 512U);
    EXPECT_FALSE(identity.read_only);
    expect_io(disk, memory, 1);
    EXPECT_EQ(pinned(), device_->uses_addresses() ? 0U : 64_MiB);
    // The other end of the memory, and of the disk.
    disk.write(128_MiB - 4096, kBase + 64_MiB - 4096, 4096).value();
    EXPECT_EQ(disk.write(128_MiB - 512, kBase + kData, 1024).error().code(), ERANGE);
    EXPECT_EQ(disk.write(1, kBase + kData, 512).error().code(), EINVAL);
    disk.stop().value();
    EXPECT_EQ(disk.flush().error().code(), ESHUTDOWN);
    EXPECT_EQ(sink().unmap(*Range::of(kBase, 64_MiB)).value(), 64_MiB);
    EXPECT_EQ(pinned(), 0U);
}

TEST_F(Vdpa, WorksOnADescriptorThatSomebodyOpened) {
    const int fd = ::open(kNode, O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    {
        auto device = vdpa::Device::from(DupFd{fd}, {}).value();
        EXPECT_EQ(device.name(), "vhost-vdpa /dev/vhost-vdpa-0");
        EXPECT_NE(device.fd(), fd);
        const auto memory = Memory::memfd(4_MiB).value();
        device.attachable()->sink()->map(piece_of(memory, kBase)).value();
        auto disk = start_disk(device, memory).value();
        expect_io(disk, memory, 2);
    }
    // What the first had mapped is still there, as far as the kernel goes: the next starts afresh.
    auto device = vdpa::Device::from(AdoptFd{fd}, {}).value();
    EXPECT_EQ(device.fd(), fd);
    const auto memory = Memory::memfd(4_MiB).value();
    device.attachable()->sink()->map(piece_of(memory, kBase)).value();
    std::move(device).destroy().value();
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST_F(Vdpa, RefusesADescriptorOfAnotherKind) {
    const auto error = vdpa::Device::from(DupFd{STDERR_FILENO}, {}).error();
    EXPECT_THAT(error.line(), HasSubstr("it is not a vhost-vdpa device"));
    EXPECT_EQ(vdpa::Device::from(DupFd{9999}, {}).error().code(), EBADF);
    EXPECT_EQ(vdpa::Device::open("/dev/vhost-vdpa-99").error().code(), ENOENT);
}

TEST_F(Vdpa, ASecondOpenSaysThatTheDeviceIsInUse) {
    open();
    const auto error = vdpa::Device::open(kNode).error();
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_THAT(error.line(), AllOf(HasSubstr("cannot open vhost-vdpa /dev/vhost-vdpa-0"),
                                    HasSubstr("one user at a time"), HasSubstr("fuser")));
}

TEST_F(Vdpa, SaysWhatIsWrongWithAMapping) {
    open();
    const auto memory = Memory::memfd(1_MiB, {.label = "ram0"}).value();
    sink().map(piece_of(memory, kBase)).value();

    const auto overlap = sink().map(piece_of(memory, kBase + 0xff000, 0, 8192)).error();
    EXPECT_EQ(overlap.code(), EEXIST);
    EXPECT_THAT(overlap.line(), HasSubstr("0x4000000+0x100000 ('ram0') is mapped there"));

    const auto wrapping = sink().map(piece_of(memory, Iova{~0ULL - 4095}, 0, 8192)).error();
    EXPECT_EQ(wrapping.code(), EINVAL);
    EXPECT_THAT(wrapping.line(), HasSubstr("wraps around at 2^64"));
    EXPECT_EQ(sink().map(piece_of(memory, kBase + 1_GiB, 0, 0)).error().code(), EINVAL);

    for (const Piece& piece :
         {piece_of(memory, kBase + 1_GiB + 1, 0, 4096), piece_of(memory, kBase + 1_GiB, 0, 4097),
          piece_of(memory, kBase + 1_GiB, 8, 4096)}) {
        const auto misaligned = sink().map(piece).error();
        EXPECT_EQ(misaligned.code(), EINVAL);
        EXPECT_THAT(misaligned.line(), HasSubstr("align all three to 4096 bytes"));
    }

    EXPECT_EQ(sink().unmap(*Range::of(kBase + 4096, 4096)).error().code(), EINVAL);
    EXPECT_EQ(sink().unmap(*Range::of(kBase + 1_MiB, 4096)).error().code(), ENOENT);
    EXPECT_EQ(sink().unmap(*Range::of(kBase, 1_MiB)).value(), 1_MiB);
}

TEST_F(Vdpa, RefusesPrivateMemoryWhereTheDeviceUsesAddresses) {
    open();
    NEEDS_ADDRESSES();
    const auto memory = Memory::anonymous(1_MiB, {.label = "private"}).value();
    const auto error = sink().map(piece_of(memory, kBase)).error();
    EXPECT_EQ(error.code(), EOPNOTSUPP);
    EXPECT_THAT(error.line(), AllOf(HasSubstr("the memory is private"), HasSubstr("memfd")));
}

TEST_F(Vdpa, TakesPrivateMemoryWhereTheDevicePins) {
    open();
    NEEDS_PINS();
    const auto memory = Memory::anonymous(4_MiB).value();
    sink().map(piece_of(memory, kBase)).value();
    EXPECT_EQ(pinned(), 4_MiB);
    auto disk = start_disk(*device_, memory).value();
    expect_io(disk, memory, 3);
}

TEST_F(Vdpa, ExplainsMemoryThatIsNotThere) {
    open();
    const auto memory = Memory::memfd(1_MiB, {.label = "ram0"}).value();
    sink().map(piece_of(memory, kBase)).value();
    // At IOVA 0, Linux 7.3 takes back every mapping of a device that uses addresses, not this one alone.
    Piece nothing = piece_of(memory, Iova{0}, 0, 4096);
    nothing.address = reinterpret_cast<const std::byte*>(0x7ffffffff000);
    const auto error = sink().map(nothing).error();
    EXPECT_EQ(error.code(), EFAULT);
    EXPECT_THAT(error.line(), HasSubstr(device_->uses_addresses() ? "no memory is mapped at all of"
                                                                  : "a page can't be pinned"));
    auto disk = start_disk(*device_, memory);
    EXPECT_TRUE(disk) << disk.error().text();
    EXPECT_TRUE(disk->identify());
}

TEST_F(Vdpa, ADiskCannotReachWhatIsNotMapped) {
    open();
    const auto memory = Memory::memfd(4_MiB).value();
    sink().map(piece_of(memory, kBase)).value();
    auto disk = start_disk(*device_, memory).value();
    const auto error = disk.read(0, kBase + 4_MiB, 4096).error();
    EXPECT_EQ(error.code(), EIO);
    EXPECT_THAT(error.line(), HasSubstr("can't reach the memory"));
    expect_io(disk, memory, 4);
}

TEST_F(Vdpa, ADiskWhoseQueueIsNotMappedTimesOutAndIsReset) {
    open();
    const auto memory = Memory::memfd(4_MiB).value();
    sink().map(piece_of(memory, kBase + 1_GiB)).value();
    auto disk = drivers::VirtioBlk::start(*device_, {memory.data(), kBase, kData},
                                          {.timeout = std::chrono::milliseconds(200)})
                    .value();
    EXPECT_EQ(disk.identify().error().code(), ETIMEDOUT);
    EXPECT_EQ(device_->status().value(), 0);
    EXPECT_EQ(disk.identify().error().code(), ESHUTDOWN);
}

// The memory is small: outside a batch a device that pins is told of its whole table for each run of pages.
void expect_mappings_after_reset(vdpa::Device& device) {
    dma::Sink& sink = *device.attachable()->sink();
    const auto memory = Memory::memfd(1_MiB).value();
    const auto other = Memory::memfd(1_MiB).value();
    sink.map(piece_of(memory, kBase)).value();
    sink.map(piece_of(other, kBase + 16_MiB)).value();
    {
        auto disk = start_disk(device, memory).value();
        expect_io(disk, memory, 5);
    }
    device.reset().value();
    auto disk = start_disk(device, memory).value();
    expect_io(disk, memory, 6);
    disk.read(0, kBase + 16_MiB, 4096).value();
    EXPECT_EQ(disk.read(0, kBase + 32_MiB, 4096).error().code(), EIO);
    disk.stop().value();
    EXPECT_EQ(pinned(), device.uses_addresses() ? 0U : 2_MiB);
    EXPECT_EQ(sink.unmap({Iova{0}, Iova{~0ULL}}).value(), 2_MiB);
    EXPECT_EQ(pinned(), 0U);
}

TEST_F(Vdpa, MappingsPersistOverAReset) {
    open();
    if (!device_->has(BackendFeature::persist)) GTEST_SKIP() << "IOTLB_PERSIST needs Linux 6.7";
    expect_mappings_after_reset(*device_);
}

TEST_F(Vdpa, MappingsAreReplayedAfterAResetThatLosesThem) {
    open({.decline = bit(BackendFeature::persist)});
    EXPECT_FALSE(device_->has(BackendFeature::persist));
    expect_mappings_after_reset(*device_);
}

TEST_F(Vdpa, MappingsAreReplayedWithoutBatchesToo) {
    open({.decline = bit(BackendFeature::persist) | bit(BackendFeature::batch)});
    expect_mappings_after_reset(*device_);
}

TEST_F(Vdpa, ReplaysABatch) {
    open();
    const auto memory = Memory::memfd(4_MiB).value();
    std::vector<Piece> pieces;
    for (std::uint64_t offset = 0; offset < 4_MiB; offset += 1_MiB)
        pieces.push_back(piece_of(memory, kBase + offset, offset, 1_MiB));
    sink().replay(pieces).value();
    auto disk = start_disk(*device_, memory).value();
    expect_io(disk, memory, 7);
    EXPECT_EQ(sink().replay(pieces).error().code(), EEXIST);
    expect_io(disk, memory, 8);
}

TEST_F(Vdpa, ABatchThatFailsLeavesNothingMappedAndSaysSo) {
    open();
    const auto memory = Memory::memfd(4_MiB).value();
    const auto base = piece_of(memory, kBase);
    sink().map(base).value();
    std::vector<Piece> pieces;
    for (std::uint64_t i = 0; i < 4; ++i)
        pieces.push_back(piece_of(memory, kBase + 1_GiB + i * 1_MiB, i * 1_MiB, 1_MiB));
    pieces[2].address = reinterpret_cast<const std::byte*>(0x7ffffffff000);
    pieces[2].length = 4096;
    const auto error = sink().replay(pieces).error();
    EXPECT_EQ(error.code(), EFAULT);
    EXPECT_THAT(error.line(), HasSubstr("all of it was invalidated"));
    EXPECT_EQ(sink().unmap(*Range::of(kBase + 1_GiB, 1_GiB)).error().code(), ENOENT);
    EXPECT_EQ(pinned(), device_->uses_addresses() ? 0U : 4_MiB);
    auto disk = start_disk(*device_, memory).value();
    expect_io(disk, memory, 9);
    EXPECT_EQ(disk.read(0, kBase + 1_GiB, 4096).error().code(), EIO);
}

TEST_F(Vdpa, ABatchThatTheDeviceCannotHoldIsNoticed) {
    open();
    const auto device_takes = parameter("vdpa_sim/parameters/max_iotlb_entries");
    const auto kernel_takes = parameter("vhost_vdpa/parameters/max_iotlb_entries");
    if (device_takes >= kernel_takes)
        GTEST_SKIP() << "the device holds as much as the kernel: needs vdpa_sim.max_iotlb_entries=16";
    const auto memory = Memory::memfd(4_MiB).value();
    std::vector<Piece> pieces;
    for (std::uint64_t i = 0; i < device_takes + 4; ++i)  // BATCH_END alone would call this a success
        pieces.push_back(piece_of(memory, kBase + i * 8192, i * 4096, 4096));
    EXPECT_EQ(sink().replay(pieces).error().code(), EFAULT);
    pieces.resize(device_takes - 2);
    sink().replay(pieces).value();
}

TEST_F(Vdpa, TheTablesSizeIsALimitByName) {
    open();
    const auto most = parameter("vhost_vdpa/parameters/max_iotlb_entries");
    if (parameter("vdpa_sim/parameters/max_iotlb_entries") < most) GTEST_SKIP() << "the device holds less";
    const auto memory = Memory::memfd(4096).value();
    std::vector<Piece> pieces;
    for (std::uint64_t i = 0; i < most; ++i) pieces.push_back(piece_of(memory, kBase + i * 8192));
    sink().replay(pieces).value();
    const auto error = sink().map(piece_of(memory, Iova{0})).error();
    EXPECT_EQ(error.code(), ENOSPC);
    EXPECT_THAT(error.line(), HasSubstr("2048 entries"));
    EXPECT_EQ(sink().unmap({Iova{0}, Iova{~0ULL}}).value(), most * 4096);
}

// Runs something in a child process and gives back what it wrote.
template <class F>
std::string in_child(F&& f) {
    int ends[2];
    if (::pipe(ends) < 0) return "no pipe";
    const pid_t child = ::fork();
    if (child == 0) {
        const std::string text = f();
        _exit(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
    }
    ::close(ends[1]);
    std::string text(4096, '\0');
    const ssize_t length = ::read(ends[0], text.data(), text.size());
    text.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return text;
}

TEST_F(Vdpa, NamesTheMemlockLimitThatIsNeeded) {
    open();
    NEEDS_PINS();
    device_.reset();
    const auto text = in_child([] {
        const rlimit limit{1_MiB, 1_MiB};
        if (::setrlimit(RLIMIT_MEMLOCK, &limit) < 0) return std::string("setrlimit");
        auto device = vdpa::Device::open(kNode);
        if (!device) return device.error().text();
        dma::Sink& sink = *device->attachable()->sink();
        const auto memory = Memory::memfd(2_MiB, {.label = "ram0"}).value();
        if (auto mapped = sink.map(piece_of(memory, kBase, 0, 512_KiB)); !mapped)
            return mapped.error().text();
        const auto checked = sink.check(piece_of(memory, kBase + 1_GiB, 0, 1_MiB));
        const auto mapped = sink.map(piece_of(memory, kBase + 1_GiB, 0, 1_MiB));
        if (checked || mapped) return std::string("mapped");
        if (checked.error().text() != mapped.error().text()) return checked.error().text();
        // What is said to be needed is enough.
        const rlimit more{512_KiB + 1_MiB, 512_KiB + 1_MiB};
        if (::setrlimit(RLIMIT_MEMLOCK, &more) < 0) return std::string("setrlimit");
        if (auto now = sink.map(piece_of(memory, kBase + 1_GiB, 0, 1_MiB)); !now) return now.error().text();
        return mapped.error().text();
    });
    EXPECT_THAT(text, HasSubstr("ENOMEM"));
    EXPECT_THAT(text, HasSubstr("RLIMIT_MEMLOCK is 1 MiB; this process has pinned 512 KiB"));
    EXPECT_THAT(text, HasSubstr("the device pins 1 MiB more"));
    EXPECT_THAT(text, HasSubstr("raise the limit to 1572864 bytes"));
}

TEST_F(Vdpa, AChildOfTheOwnerIsToldThatItIsNotTheOwner) {
    open();
    const auto memory = Memory::memfd(1_MiB, {.label = "ram0"}).value();
    const auto text = in_child([&] {
        const auto mapped = sink().map(piece_of(memory, kBase));
        return mapped ? std::string("mapped") : mapped.error().text();
    });
    EXPECT_THAT(text, AllOf(HasSubstr("EPERM"), HasSubstr("not the device's owner"), HasSubstr("fork")));
    const auto taken = in_child([&] {
        const auto device = vdpa::Device::from(DupFd{device_->fd()}, {});
        return device ? std::string("taken") : device.error().text();
    });
    EXPECT_THAT(taken, AllOf(HasSubstr("EPERM"), HasSubstr("another process is its owner")));
    sink().map(piece_of(memory, kBase)).value();
}

TEST_F(Vdpa, RefusesAnAddressSpaceThatTheDeviceLacks) {
    EXPECT_THAT(vdpa::Device::open(kNode, {.asid = 1}).error().line(), HasSubstr("leave asid= out"));
    EXPECT_THAT(vdpa::Device::open(kNode, {.group = 1}).error().line(), HasSubstr("leave group= out"));
    open({.asid = 0, .group = 0});
}

TEST_F(Vdpa, CountsAsAUserOfABackendWithoutOpeningItsNode) {
    auto backend = Backend::open().value();
    open({.backend = &backend});
    EXPECT_THAT(backend.users(), ElementsAre("vhost-vdpa /dev/vhost-vdpa-0"));
    EXPECT_FALSE(backend.is_open());
    auto space = dma::Space::on(backend).value();
    auto attachment = space.attach(*device_).value();
    const auto memory = Memory::memfd(4_MiB).value();
    auto mapping = space.map(memory, {.iova = kBase}).value();
    auto disk = start_disk(*device_, memory).value();
    expect_io(disk, memory, 10);
    EXPECT_FALSE(backend.is_open());
    EXPECT_THAT(std::move(backend).destroy().error().line(), HasSubstr("vhost-vdpa /dev/vhost-vdpa-0"));
}

TEST_F(Vdpa, ASpaceReplaysIntoADeviceThatAttachesLate) {
    auto space = dma::Space::without_iommufd({}).value();
    const auto memory = Memory::memfd(4_MiB).value();
    std::vector<dma::Mapping> mappings;
    for (std::uint64_t offset = 0; offset < 4_MiB; offset += 1_MiB)
        mappings.push_back(
            space.map(memory, {.iova = kBase + offset, .offset = offset, .length = 1_MiB}).value());
    open();
    auto attachment = space.attach(*device_).value();
    auto disk = start_disk(*device_, memory).value();
    expect_io(disk, memory, 11);
    disk.stop().value();
    std::move(attachment).detach().value();
    EXPECT_EQ(sink().unmap({Iova{0}, Iova{~0ULL}}).error().code(), ENOENT);
    EXPECT_EQ(pinned(), 0U);
}

// The simulator of a network device has two address spaces, and two groups of queues.
class VdpaNet : public testing::Test {
protected:
    void SetUp() override {
        if (std::system("vdpa dev add name net0 mgmtdev vdpasim_net >/dev/null 2>&1") != 0)
            GTEST_SKIP() << "there is no vdpasim_net, or no vdpa command: run in the VM";
        std::ofstream("/sys/bus/vdpa/devices/net0/driver_override") << "vhost_vdpa";
        if (std::filesystem::exists("/sys/bus/vdpa/devices/net0/driver"))
            std::ofstream("/sys/bus/vdpa/devices/net0/driver/unbind") << "net0";
        std::ofstream("/sys/bus/vdpa/drivers_probe") << "net0";
        for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/vdpa/devices/net0"))
            if (entry.path().filename().string().starts_with("vhost-vdpa-"))
                node_ = "/dev/" + entry.path().filename().string();
        ASSERT_FALSE(node_.empty());
    }
    void TearDown() override { (void)std::system("vdpa dev del net0 >/dev/null 2>&1"); }

    std::string node_;
};

TEST_F(VdpaNet, MapsIntoTheAddressSpaceThatWasChosen) {
    const auto memory = Memory::memfd(1_MiB).value();
    auto device = vdpa::Device::open(node_, {.asid = 1, .group = 1}).value();
    EXPECT_EQ(device.address_space_count(), 2U);
    EXPECT_EQ(device.group_count(), 2U);
    EXPECT_EQ(device.asid(), 1U);
    EXPECT_EQ(device.vring(0).group().value(), 0U);
    EXPECT_EQ(device.vring(2).group().value(), 1U);
    dma::Sink& sink = *device.attachable()->sink();
    EXPECT_EQ(sink.describe(), "address space 1 of vhost-vdpa " + node_);
    sink.map(piece_of(memory, kBase)).value();
    device.reset().value();
    EXPECT_EQ(sink.unmap({Iova{0}, Iova{~0ULL}}).value(), 1_MiB);
    EXPECT_EQ(device.set_group_asid(2, 0).error().code(), EINVAL);
    EXPECT_EQ(device.set_group_asid(0, 2).error().code(), EINVAL);
    device.set_group_asid(0, 0).value();
}

}  // namespace
}  // namespace iommufd
