// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device without an IOMMU (vfio.enable_unsafe_noiommu_mode=1): what iommufd can do for it, and what it can't. The VM
// has less than 256 MiB, so that edu's 28 address bits reach all of its physical memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "drivers/edu.hpp"
#include "iommufd/core/hw_info.hpp"
#include "iommufd/dma/space.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::kernel_tests {
namespace {

using vfio::Cdev;
using vfio::Device;

constexpr const char* kEdu = "0000:00:10.0";
constexpr Iova kBase{0x4000000};

class NoiommuTest : public ::testing::Test {
protected:
    void SetUp() override {
        auto cdev = Cdev::open(kEdu, {.kernel = &Recorder::instance(), .name = {}});
        if (!cdev) GTEST_SKIP() << "needs Linux 7.2: " << cdev.error().line();
        device_.emplace(std::move(*cdev).bind(backend_).value());
        ioas_.emplace(core::Ioas::alloc(*backend_.context()).value());
    }

    Backend backend_ =
        Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &Recorder::instance()}).value();
    std::optional<Device> device_;
    std::optional<core::Ioas> ioas_;
    dma::Memory memory_ = dma::Memory::memfd(64_KiB, {.label = "ram", .prealloc = true}).value();
};

TEST_F(NoiommuTest, IsNamedAsUntranslated) { EXPECT_FALSE(device_->info().translated); }

TEST_F(NoiommuTest, MapsPinsAndTellsThePhysicalAddressAtWhichTheDeviceReallyReachesTheMemory) {
    ASSERT_TRUE(device_->attach(ioas_->id()));
    ASSERT_TRUE(ioas_->map(memory_.data(), 64_KiB, Access::read_write, kBase));
    const auto source = ioas_->noiommu_physical_address(kBase, 4_KiB).value();
    const auto target = ioas_->noiommu_physical_address(kBase + 32_KiB, 4_KiB).value();
    EXPECT_GE(source.length, 4_KiB);
    ASSERT_LT(source.address, 1ULL << 28) << "run this with less than 256 MiB";
    ASSERT_LT(target.address, 1ULL << 28);
    for (std::size_t i = 0; i < 4_KiB; ++i) memory_.data()[i] = static_cast<std::byte>(i * 5);
    auto edu = drivers::Edu::start(*device_).value();
    ASSERT_TRUE(edu.copy(Iova{target.address}, Iova{source.address}, 4_KiB));
    EXPECT_EQ(std::memcmp(memory_.data(), memory_.data() + 32_KiB, 4_KiB), 0);
    EXPECT_EQ(ioas_->noiommu_physical_address(kBase + 1_MiB, 4_KiB).error().code(), ENOENT);
    ASSERT_TRUE(device_->detach());
}

TEST_F(NoiommuTest, ASpaceTakesItThoughTheIommuTellsNothing) {
    EXPECT_EQ(core::hw_info(*backend_.context(), device_->id()).error().code(), EOPNOTSUPP);
    const auto space = dma::Space::on(backend_).value();
    const auto attached = space.attach(*device_).value();
    const auto mapped = space.map(memory_, {.iova = kBase}).value();
    EXPECT_EQ(mapped.state(), dma::MappingState::mapped);
}

}  // namespace
}  // namespace iommufd::kernel_tests
