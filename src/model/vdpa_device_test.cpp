// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The vhost-vdpa node and the virtio block device behind it, driven as a driver would.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <numeric>

#include "model/testing.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::model::testing {
namespace {

using namespace uapi::vhost;

constexpr const char* kNode = "/dev/vhost-vdpa-0";
constexpr std::uint64_t kPersist = 1ULL << kIotlbPersist;

class VdpaBench : public Bench {
public:
    explicit VdpaBench(Description description = everything())
        : Bench(std::move(description)), vdpa(open(kNode)) {
        (void)ioctl(kSetOwner, nullptr);
    }

    int ioctl(uapi::Request request, void* argument) { return kernel().ioctl(vdpa, request, argument); }
    template <class T>
    T get(uapi::Request request) {
        T value{};
        EXPECT_EQ(ioctl(request, &value), 0);
        return value;
    }
    template <class T>
    int set(uapi::Request request, T value) {
        return ioctl(request, &value);
    }
    int status(std::uint8_t value) { return set(kVdpaSetStatus, value); }

    // 72, or a negative errno.
    int message(std::uint8_t type, std::uint64_t iova = 0, std::uint64_t size = 0, std::uint64_t address = 0,
                std::uint8_t permissions = kAccessRw, std::uint32_t asid = 0) {
        MsgV2 message{};
        message.type = kMsgIotlbV2;
        message.asid = asid;
        message.iotlb = {.iova = iova, .size = size, .uaddr = address, .perm = permissions, .type = type};
        return static_cast<int>(kernel().write(vdpa, &message, sizeof message));
    }
    std::size_t mappings() { return machine.leaks().mappings; }

    int vdpa;
};

// Rings and buffers in one piece of memory, at one IOVA.
class Driver {
public:
    static constexpr std::uint64_t kIova = 0x400000;
    static constexpr std::uint16_t kSize = 8;
    static constexpr std::uint64_t kAvailable = 0x400;
    static constexpr std::uint64_t kUsed = 0x800;
    static constexpr std::uint64_t kHeader = 0x1000;
    static constexpr std::uint64_t kStatus = 0x1100;
    static constexpr std::uint64_t kData = 0x2000;

    explicit Driver(VdpaBench& bench) : bench_(bench) {}

    void start() {
        EXPECT_EQ(bench_.status(1 | 2), 0);
        EXPECT_EQ(bench_.set(kSetFeatures, 1ULL << 32 | 1ULL << 33), 0);
        EXPECT_EQ(bench_.status(1 | 2 | 8), 0);
        EXPECT_EQ(bench_.set(kSetVringNum, VringState{0, kSize}), 0);
        EXPECT_EQ(bench_.set(kSetVringBase, VringState{0, 0}), 0);
        const VringAddr address{
            .desc_user_addr = kIova, .used_user_addr = kIova + kUsed, .avail_user_addr = kIova + kAvailable};
        EXPECT_EQ(bench_.set(kSetVringAddr, address), 0);
        EXPECT_EQ(bench_.set(kSetVringKick, VringFile{0, kick.number()}), 0);
        EXPECT_EQ(bench_.set(kSetVringCall, VringFile{0, call.number()}), 0);
        EXPECT_EQ(bench_.set(kSetVringErr, VringFile{0, error.number()}), 0);
        EXPECT_EQ(bench_.set(kVdpaSetVringEnable, VringState{0, 1}), 0);
        EXPECT_EQ(bench_.status(1 | 2 | 8 | 4), 0);
    }
    int map() { return bench_.message(kIotlbUpdate, kIova, memory.size(), memory.address()); }

    // One request of three descriptors; the status it ended with, or 0xff where the device did not answer.
    std::uint8_t request(std::uint32_t type, std::uint64_t sector, std::uint32_t length, bool to_device,
                         std::uint64_t data = kIova + kData) {
        prepare(type, sector, length, to_device, data);
        kick.signal();
        if (!call.wait()) return 0xff;
        return memory.bytes()[kStatus];
    }
    void prepare(std::uint32_t type, std::uint64_t sector, std::uint32_t length, bool to_device,
                 std::uint64_t data) {
        put(kHeader, type);
        put(kHeader + 8, sector);
        memory.bytes()[kStatus] = 0xee;
        describe(0, kIova + kHeader, 16, 1, 1);
        describe(1, data, length, to_device ? 1 : 3, 2);
        describe(2, kIova + kStatus, 1, 2, 0);
        offer(0);
    }
    void describe(std::uint16_t index, std::uint64_t iova, std::uint32_t length, std::uint16_t flags,
                  std::uint16_t next) {
        const std::uint64_t at = index * std::uint64_t{16};
        put(at, iova);
        put(at + 8, length);
        put(at + 12, flags);
        put(at + 14, next);
    }
    void offer(std::uint16_t head) {
        put(kAvailable + 4 + next_ % kSize * std::uint64_t{2}, head);
        std::atomic_ref(*reinterpret_cast<std::uint16_t*>(memory.bytes() + kAvailable + 2)).store(++next_);
    }
    template <class T>
    void put(std::uint64_t offset, T value) {
        std::memcpy(memory.bytes() + offset, &value, sizeof value);
    }
    std::uint16_t used() const { return *reinterpret_cast<std::uint16_t*>(memory.bytes() + kUsed + 2); }
    std::uint32_t written() const {
        return *reinterpret_cast<std::uint32_t*>(memory.bytes() + kUsed + 4 +
                                                 (used() - 1U) % kSize * std::uint64_t{8} + 4);
    }
    unsigned char* data() const { return memory.bytes() + kData; }

    Memory memory{16 * kPage};
    Event kick;
    Event call;
    Event error;

private:
    VdpaBench& bench_;
    std::uint16_t next_ = 0;
};

TEST(ModelVdpa, WritesReadsFlushesAndNamesADisk) {
    VdpaBench bench;
    Driver driver(bench);
    ASSERT_EQ(driver.map(), 72);
    driver.start();
    std::iota(driver.data(), driver.data() + kPage, static_cast<unsigned char>(7));
    const std::vector<unsigned char> pattern(driver.data(), driver.data() + kPage);
    EXPECT_EQ(driver.request(1, 100, kPage, true), 0);
    EXPECT_EQ(driver.written(), 1U);
    std::memset(driver.data(), 0, kPage);
    EXPECT_EQ(driver.request(0, 100, kPage, false), 0);
    EXPECT_EQ(driver.written(), kPage + 1);
    EXPECT_EQ(std::memcmp(driver.data(), pattern.data(), kPage), 0);
    EXPECT_EQ(driver.request(0, 108, kPage, false), 0);
    EXPECT_EQ(driver.data()[0], 0) << "what was never written";
    EXPECT_EQ(driver.request(4, 0, 0, true), 0);
    EXPECT_EQ(driver.request(8, 0, 20, false), 0);
    EXPECT_STREQ(reinterpret_cast<const char*>(driver.data()), "vdpa_blk_model");
    EXPECT_EQ(driver.used(), 5);
    EXPECT_EQ(bench.get<VringState>(kGetVringBase).num, 5U);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
    EXPECT_EQ(driver.error.count(), 0U);
}

TEST(ModelVdpa, RequestsThatMakeNoSenseFailAndNothingElse) {
    VdpaBench bench;
    Driver driver(bench);
    ASSERT_EQ(driver.map(), 72);
    driver.start();
    const std::uint64_t capacity = (64ULL << 20) / 512;
    EXPECT_EQ(driver.request(0, capacity - 1, 512, false), 0);
    EXPECT_EQ(driver.request(0, capacity - 1, 1024, false), 1);
    EXPECT_EQ(driver.request(0, ~0ULL, 512, false), 1);
    EXPECT_EQ(driver.request(0, 0, 100, false), 1);
    EXPECT_EQ(driver.request(99, 0, 512, false), 1);
    EXPECT_EQ(driver.request(4, 5, 0, true), 1);
    struct {
        std::uint64_t sector;
        std::uint32_t sectors;
        std::uint32_t flags;
    } range{.sector = 0, .sectors = 8, .flags = 0};
    std::memset(driver.data(), 1, kPage);
    EXPECT_EQ(driver.request(1, 0, kPage, true), 0);
    driver.put(Driver::kData, range);
    EXPECT_EQ(driver.request(13, 0, sizeof range, true), 0);
    EXPECT_EQ(driver.request(0, 0, kPage, false), 0);
    EXPECT_EQ(driver.data()[0], 0) << "zeroes were written";
    range.flags = 2;
    driver.put(Driver::kData, range);
    EXPECT_EQ(driver.request(13, 0, sizeof range, true), 2);
}

TEST(ModelVdpa, MemoryThatIsNotMappedIsBlockedAndTheRequestFails) {
    VdpaBench bench;
    Driver driver(bench);
    const Memory other(kPage);
    ASSERT_EQ(driver.map(), 72);
    driver.start();
    EXPECT_EQ(driver.request(0, 0, 512, false, 0x900000), 1);
    ASSERT_EQ(bench.machine.blocked_dma().size(), 1U);
    EXPECT_EQ(bench.machine.blocked_dma()[0].iova, 0x900000U);
    EXPECT_EQ(bench.machine.blocked_dma()[0].device, "blk0");
    EXPECT_TRUE(bench.machine.blocked_dma()[0].write);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x900000, kPage, other.address(), kAccessRo), 72);
    EXPECT_EQ(driver.request(1, 0, 512, true, 0x900000), 0);
    EXPECT_EQ(driver.request(0, 0, 512, false, 0x900000), 1) << "the device may only read it";
    EXPECT_EQ(bench.message(kIotlbInvalidate, 0x900800, 1), 72) << "a part takes the whole away";
    EXPECT_EQ(driver.request(1, 0, 512, true, 0x900000), 1);
}

TEST(ModelVdpa, ARingThatIsBrokenIsReportedByItsErrorEventfd) {
    VdpaBench bench;
    Driver driver(bench);
    ASSERT_EQ(driver.map(), 72);
    driver.start();
    driver.describe(0, Driver::kIova, 16, 1, 0);  // a circle
    driver.offer(0);
    driver.kick.signal();
    EXPECT_TRUE(driver.error.wait());
    EXPECT_EQ(driver.used(), 0);
}

TEST(ModelVdpa, ASecondOpenIsBusyUntilTheFirstIsClosed) {
    VdpaBench bench;
    EXPECT_EQ(bench.kernel().open(kNode, O_RDWR), -EBUSY);
    const Memory memory(kPage);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0, kPage, memory.address()), 72);
    EXPECT_EQ(bench.mappings(), 1U);
    EXPECT_EQ(bench.close(bench.vdpa), 0);
    EXPECT_EQ(bench.mappings(), 0U);
    bench.vdpa = bench.open(kNode);
    EXPECT_GE(bench.vdpa, 0);
    EXPECT_EQ(bench.set(kSetVringNum, VringState{0, 8}), -EPERM) << "no owner any more";
    EXPECT_EQ(bench.message(kIotlbUpdate, 0, kPage, memory.address()), -EFAULT);
    EXPECT_EQ(bench.ioctl(kSetOwner, nullptr), 0);
    EXPECT_EQ(bench.ioctl(kSetOwner, nullptr), -EBUSY);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0, kPage, memory.address()), 72);
}

TEST(ModelVdpa, EveryErrorOfAnUpdateIsEfault) {
    VdpaBench bench;
    const Memory memory(4 * kPage);
    EXPECT_EQ(bench.message(kIotlbInvalidate, 0, kPage), -EFAULT) << "no address space before an update";
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x1000, 2 * kPage, memory.address()), 72);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x2000, kPage, memory.address()), -EFAULT) << "overlap";
    EXPECT_EQ(bench.message(kIotlbUpdate, ~0ULL - kPage + 1, 2 * kPage, memory.address()), -EFAULT);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x9000, kPage, 0xfffffffffffff000), -EFAULT) << "nothing is there";
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x9000, 0, memory.address()), -EINVAL);
    EXPECT_EQ(bench.message(9), -EFAULT);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x9000, kPage, memory.address(), kAccessRw, 5), 72)
        << "without the feature the asid is not looked at";
    EXPECT_EQ(bench.set(kSetBackendFeatures, std::uint64_t{1ULL << kIotlbAsid | 2}), 0);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0xa000, kPage, memory.address(), kAccessRw, 5), -EFAULT);
    std::array<std::uint32_t, 18> raw{kMsgIotlbV2};
    EXPECT_EQ(bench.kernel().write(bench.vdpa, raw.data(), 39), -EINVAL);
    raw[0] = 7;
    EXPECT_EQ(bench.kernel().write(bench.vdpa, raw.data(), 72), -EINVAL);
    EXPECT_EQ(bench.kernel().read(bench.vdpa, raw.data(), 72), -EINVAL);
    EXPECT_EQ(bench.mappings(), 2U);
}

TEST(ModelVdpa, AnUpdateOfPrivateMemorySucceedsAndMapsNothing) {
    VdpaBench bench;
    const Memory memory(4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x1000, kPage, memory.address()), 72);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x1000, kPage, memory.address()), 72) << "and again";
    EXPECT_EQ(bench.mappings(), 0U);
    // Shared in the middle of private memory: that piece only.
    ASSERT_NE(::mmap(memory.bytes() + kPage, kPage, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
              MAP_FAILED);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x1000, 3 * kPage, memory.address()), 72);
    EXPECT_EQ(bench.mappings(), 1U);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x1000, kPage, memory.address()), 72);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x2000, kPage, memory.address()), -EFAULT);
}

TEST(ModelVdpa, ABatchReachesTheDeviceAtItsEnd) {
    VdpaBench bench;
    Driver driver(bench);
    const Memory extra(kPage);
    ASSERT_EQ(driver.map(), 72);
    driver.start();
    EXPECT_EQ(bench.message(kIotlbBatchBegin), 72);
    EXPECT_EQ(bench.message(kIotlbUpdate, 0x900000, kPage, extra.address()), 72);
    EXPECT_EQ(driver.request(0, 0, 512, false, 0x900000), 1);
    EXPECT_EQ(bench.message(kIotlbBatchEnd), 72);
    EXPECT_EQ(driver.request(0, 0, 512, false, 0x900000), 0);
}

TEST(ModelVdpa, AResetKeepsTheKernelsTableAndClearsTheDevicesUnlessItPersists) {
    for (const bool persists : {false, true}) {
        VdpaBench bench;
        Driver driver(bench);
        EXPECT_EQ(bench.set(kSetBackendFeatures, 2 | (persists ? kPersist : 0)), 0);
        ASSERT_EQ(driver.map(), 72);
        EXPECT_EQ(bench.status(0), 0);
        EXPECT_EQ(driver.map(), -EFAULT) << "it is there already";
        driver.start();
        driver.kick.signal();
        if (persists) {
            EXPECT_EQ(driver.request(4, 0, 0, true), 0);
            EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
            continue;
        }
        driver.prepare(4, 0, 0, true, 0);
        driver.kick.signal();
        EXPECT_TRUE(driver.error.wait()) << "the ring itself is out of reach";
        EXPECT_GT(bench.machine.blocked_dma_count(), 0U);
        // Any change brings the whole table back.
        EXPECT_EQ(bench.message(kIotlbInvalidate, 0x10000, kPage), 72);
        driver.kick.signal();
        EXPECT_TRUE(driver.call.wait());
        EXPECT_EQ(driver.memory.bytes()[Driver::kStatus], 0);
    }
}

TEST(ModelVdpa, PersistenceIsOfferedAsTheDescriptionSays) {
    Description description = everything();
    description.devices[2].iotlb_persist = false;
    VdpaBench bench(description);
    EXPECT_EQ(bench.get<std::uint64_t>(kGetBackendFeatures) & kPersist, 0U);
    EXPECT_EQ(bench.set(kSetBackendFeatures, kPersist), -EOPNOTSUPP);
    EXPECT_EQ(bench.set(kSetBackendFeatures, std::uint64_t{1ULL << 40}), -EOPNOTSUPP);
    EXPECT_EQ(bench.set(kSetBackendFeatures, std::uint64_t{1ULL << kDescAsid}), -EINVAL);
}

TEST(ModelVdpa, ASuspendedDeviceServesItsKicksWhenItResumes) {
    VdpaBench bench;
    Driver driver(bench);
    ASSERT_EQ(driver.map(), 72);
    EXPECT_EQ(bench.ioctl(kVdpaSuspend, nullptr), 0) << "it does not run: nothing to do";
    driver.start();
    EXPECT_EQ(driver.request(4, 0, 0, true), 0);
    EXPECT_EQ(bench.set(kSetVringBase, VringState{0, 1}), -EINVAL) << "it runs";
    EXPECT_EQ(bench.ioctl(kVdpaSuspend, nullptr), 0);
    EXPECT_EQ(bench.set(kSetVringBase, VringState{0, 1}), 0);
    driver.prepare(4, 0, 0, true, 0);
    driver.kick.signal();
    // The machine's thread has seen the kick once it has taken it away.
    pollfd polled{.fd = driver.kick.number(), .events = POLLIN, .revents = POLLIN};
    while (polled.revents != 0 && ::poll(&polled, 1, 0) == 1) ::usleep(100);
    ::usleep(1000);
    EXPECT_EQ(driver.used(), 1);
    EXPECT_EQ(bench.ioctl(kVdpaResume, nullptr), 0);
    EXPECT_TRUE(driver.call.wait());
    EXPECT_EQ(driver.used(), 2);
}

TEST(ModelVdpa, DescribesItselfAsABlockDevice) {
    VdpaBench bench;
    EXPECT_EQ(bench.get<std::uint32_t>(kVdpaGetDeviceId), 2U);
    EXPECT_EQ(bench.get<std::uint32_t>(kVdpaGetVqsCount), 1U);
    EXPECT_EQ(bench.get<std::uint32_t>(kVdpaGetAsNum), 1U);
    EXPECT_EQ(bench.get<std::uint32_t>(kVdpaGetGroupNum), 1U);
    EXPECT_EQ(bench.get<std::uint16_t>(kVdpaGetVringNum), 256U);
    EXPECT_EQ(bench.get<VdpaIovaRange>(kVdpaGetIovaRange).last, ~0ULL);
    EXPECT_EQ(bench.get<std::uint32_t>(kVdpaGetConfigSize), 96U);
    EXPECT_EQ(bench.get<std::uint8_t>(kVdpaGetStatus), 0U);
    struct {
        VdpaConfig range;
        std::uint64_t capacity;
    } config{{.off = 0, .len = 8}, 0};
    EXPECT_EQ(bench.ioctl(kVdpaGetConfig, &config), 0);
    EXPECT_EQ(config.capacity, (64ULL << 20) / 512);
    config.range = {.off = 89, .len = 8};
    EXPECT_EQ(bench.ioctl(kVdpaGetConfig, &config), -EINVAL);
    config.range = {.off = 0, .len = 0};
    EXPECT_EQ(bench.ioctl(kVdpaGetConfig, &config), -EINVAL);
}

TEST(ModelVdpa, TheStatusAndFeaturesKeepTheirOrder) {
    VdpaBench bench;
    EXPECT_EQ(bench.status(3), 0);
    EXPECT_EQ(bench.status(1), -EINVAL) << "bits don't go away";
    EXPECT_EQ(bench.set(kSetFeatures, std::uint64_t{0}), -EINVAL);
    EXPECT_EQ(bench.set(kSetFeatures, std::uint64_t{1ULL << 33}), 0);
    EXPECT_EQ(bench.status(11), 0);
    EXPECT_EQ(bench.set(kSetFeatures, std::uint64_t{1ULL << 33}), -EBUSY);
    EXPECT_EQ(bench.status(0), 0);
    EXPECT_EQ(bench.set(kSetFeatures, std::uint64_t{1ULL << 33}), 0);
}

TEST(ModelVdpa, RingsAreCheckedWhenTheyAreSet) {
    VdpaBench bench;
    EXPECT_EQ(bench.set(kSetVringNum, VringState{1, 8}), -ENOBUFS);
    EXPECT_EQ(bench.set(kSetVringNum, VringState{0, 7}), -EINVAL);
    EXPECT_EQ(bench.set(kSetVringNum, VringState{0, 0}), -EINVAL);
    EXPECT_EQ(bench.set(kSetVringNum, VringState{0, 512}), -EINVAL);
    EXPECT_EQ(bench.set(kSetVringBase, VringState{0, 0x10000}), -EINVAL);
    EXPECT_EQ(bench.set(kSetVringAddr, VringAddr{.avail_user_addr = 1}), -EINVAL);
    EXPECT_EQ(bench.set(kSetVringAddr, VringAddr{.flags = 2}), -EOPNOTSUPP);
    EXPECT_EQ(bench.set(kSetVringKick, VringFile{0, 999}), -EBADF);
    EXPECT_EQ(bench.set(kSetVringCall, VringFile{0, bench.vdpa}), -EINVAL);
    EXPECT_EQ(bench.set(kSetVringCall, VringFile{0, -1}), 0);
    EXPECT_EQ(bench.set(kVdpaGetVringSize, VringState{0, 0}), -EOPNOTSUPP);
    EXPECT_EQ(bench.set(request(3, 0x90, 8), VringState{0, 0}), -ENOTTY);
}

}  // namespace
}  // namespace iommufd::model::testing
