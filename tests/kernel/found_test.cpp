// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the random comparison of the model with Linux has found: each difference, as Linux has it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <optional>

#include "kernel/recorder.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/iommufd_test.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::kernel_tests {
namespace {

namespace mock = uapi::mock;

constexpr std::uint64_t kPage = 4096;

class FoundTest : public ::testing::Test {
protected:
    void SetUp() override {
        fd_ = kernel().open("/dev/iommu", O_RDWR | O_CLOEXEC);
        ASSERT_GE(fd_, 0);
        ioas_ = ioas();
        const std::optional<mock::MockDomainFlags> made = device(ioas_);
        if (!made) GTEST_SKIP() << "this kernel has no mock device of our version";
        device_ = *made;
    }
    void TearDown() override { (void)kernel().close(fd_); }

    static sys::Kernel& kernel() { return Recorder::instance(); }

    template <class T>
    int call(uapi::Request request, T& command) {
        command.size = sizeof command;
        return kernel().ioctl(fd_, request, &command);
    }
    std::uint32_t ioas() {
        uapi::IoasAlloc command{};
        return call(uapi::kIoasAlloc, command) == 0 ? command.out_ioas_id : 0;
    }
    std::optional<mock::MockDomainFlags> device(std::uint32_t pt) {
        mock::TestCmd command{};
        command.op = mock::kMockDomainFlags;
        command.id = pt;
        command.mock_domain_flags.dev_flags = mock::kDevicePasid;
        if (call(mock::kTest, command) != 0) return {};
        return command.mock_domain_flags;
    }
    int map(std::uint64_t address, std::uint64_t length, std::uint64_t iova) {
        uapi::IoasMap command{
            .flags = 7, .ioas_id = ioas_, .user_va = address, .length = length, .iova = iova};
        return call(uapi::kIoasMap, command);
    }
    // 0: it could not be made.
    std::uint32_t viommu() {
        uapi::HwptAlloc parent{.flags = uapi::kHwptNestParent, .dev_id = device_.out_idev_id, .pt_id = ioas_};
        if (call(uapi::kHwptAlloc, parent) != 0) return 0;
        uapi::ViommuAlloc command{
            .type = mock::kViommuSelftest, .dev_id = device_.out_idev_id, .hwpt_id = parent.out_hwpt_id};
        return call(uapi::kViommuAlloc, command) == 0 ? command.out_viommu_id : 0;
    }
    int hw_queue(std::uint32_t viommu, std::uint32_t index, std::uint64_t iova, std::uint32_t* id = nullptr) {
        uapi::HwQueueAlloc command{.viommu_id = viommu,
                                   .type = mock::kHwQueueSelftest,
                                   .index = index,
                                   .nesting_parent_iova = iova,
                                   .length = kPage};
        const int rc = call(uapi::kHwQueueAlloc, command);
        if (id != nullptr) *id = command.out_hw_queue_id;
        return rc;
    }
    int use_for_vfio() {
        uapi::VfioIoas command{.ioas_id = ioas_, .op = uapi::kVfioIoasSet};
        return call(uapi::kVfioIoas, command);
    }

    int fd_ = -1;
    std::uint32_t ioas_ = 0;
    mock::MockDomainFlags device_{};
};

class Memory {
public:
    explicit Memory(std::size_t pages)
        : size_(pages * kPage),
          data_(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {}
    ~Memory() { (void)::munmap(data_, size_); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(data_); }
    // From there on nothing is mapped.
    void cut(std::size_t pages) const {
        (void)::munmap(static_cast<char*>(data_) + pages * kPage, size_ - pages * kPage);
    }

private:
    std::size_t size_;
    void* data_;
};

TEST_F(FoundTest, AWindowAtAnOffsetThatIsNoPagesIsInvalidAndOneThatIsNotThereIsNot) {
    void* address = nullptr;
    EXPECT_EQ(kernel().mmap(&address, kPage, PROT_READ, MAP_SHARED, fd_, 0xffffffff), -EINVAL);
    EXPECT_EQ(kernel().mmap(&address, 0, PROT_READ, MAP_SHARED, fd_, kPage), -EINVAL);
    EXPECT_EQ(kernel().mmap(&address, kPage, PROT_READ, MAP_SHARED, fd_, kPage), -ENXIO);
}

TEST_F(FoundTest, TheMocksLargestPageIsAQuarterOfWhatItsTableSpans) {
    ASSERT_EQ(use_for_vfio(), 0);
    uapi::vfio::IommuType1Info info{.argsz = sizeof info};
    ASSERT_EQ(kernel().ioctl(fd_, uapi::vfio::kIommuGetInfo, &info), 0);
    EXPECT_EQ(info.iova_pgsizes, 0x1ffffff000U);
}

TEST_F(FoundTest, AMapWithoutPermissionsIsInvalidOnceAllItsMemoryIsThere) {
    ASSERT_EQ(use_for_vfio(), 0);
    const Memory memory(4);
    memory.cut(2);
    uapi::vfio::IommuType1DmaMap command{.argsz = sizeof command,
                                         .flags = 0,
                                         .vaddr = memory.address(),
                                         .iova = mock::kApertureStart,
                                         .size = 4 * kPage};
    EXPECT_EQ(kernel().ioctl(fd_, uapi::vfio::kIommuMapDma, &command), -EFAULT);
    command.size = 2 * kPage;
    EXPECT_EQ(kernel().ioctl(fd_, uapi::vfio::kIommuMapDma, &command), -EINVAL);
}

TEST_F(FoundTest, SoManyInvalidationsOfAViommuHaveNoRoomAndCountAsDone) {
    const std::uint32_t id = viommu();
    ASSERT_NE(id, 0U);
    const mock::ViommuInvalidateSelftest entry{};
    uapi::HwptInvalidate command{.hwpt_id = id,
                                 .data_uptr = reinterpret_cast<std::uint64_t>(&entry),
                                 .data_type = mock::kViommuInvalidateSelftest,
                                 .entry_len = sizeof entry,
                                 .entry_num = 1U << 19};
    EXPECT_EQ(call(uapi::kHwptInvalidate, command), -ENOMEM);
    EXPECT_EQ(command.entry_num, 1U << 19);
    command.data_type = mock::kViommuInvalidateSelftestInvalid;
    EXPECT_EQ(call(uapi::kHwptInvalidate, command), -ENOMEM) << "its type is looked at later";
}

// The mock's defect: it does not note which of the two it is.
TEST_F(FoundTest, AMockQueueThatGoesMakesRoomForTheFirstWhicheverItWas) {
    const Memory memory(4);
    ASSERT_EQ(map(memory.address(), 4 * kPage, mock::kApertureStart), 0);
    const std::uint32_t id = viommu();
    ASSERT_NE(id, 0U);
    std::uint32_t second = 0;
    ASSERT_EQ(hw_queue(id, 0, mock::kApertureStart), 0);
    ASSERT_EQ(hw_queue(id, 1, mock::kApertureStart + kPage, &second), 0);
    uapi::Destroy destroy{.id = second};
    ASSERT_EQ(call(uapi::kDestroy, destroy), 0);
    EXPECT_EQ(hw_queue(id, 1, mock::kApertureStart + kPage), -EEXIST);
    EXPECT_EQ(hw_queue(id, 0, mock::kApertureStart + kPage), 0);
}

// Where the last page of all is pinned together with the first that isn't there, the sum is looked at first.
TEST_F(FoundTest, PagesUpToTheEndOfAllAddressesOverflowUnlessTheyAreMoreThanArePinnedAtOnce) {
    const auto last = [&](std::uint64_t pages) {
        return map(std::uint64_t{0} - pages * kPage, pages * kPage - kPage / 2, mock::kApertureStart);
    };
    EXPECT_EQ(last(1), -EOVERFLOW);
    EXPECT_EQ(last(2), -EOVERFLOW);
    EXPECT_EQ(last(8192), -EOVERFLOW);
    EXPECT_EQ(last(8193), -EFAULT);
}

}  // namespace
}  // namespace iommufd::kernel_tests
