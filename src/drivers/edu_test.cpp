// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The edu driver on the model's card.
#include "drivers/edu.hpp"

#include <gmock/gmock.h>

#include <cstring>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "sys/faulty_kernel.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::drivers {
namespace {

using ::testing::HasSubstr;

constexpr Iova kBase{0x4000000};

// The machine's kernel, which may refuse interrupts.
class WithoutInterrupts final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (refuses && request == uapi::vfio::kDeviceSetIrqs) return -ENOSPC;
        return FaultyKernel::ioctl(fd, request, argument);
    }
    bool refuses = false;
};

class EduTest : public ::testing::Test {
protected:
    EduTest() { device_.set_dma_bits(Edu::kKind.dma_bits); }

    model::Machine machine_;
    WithoutInterrupts kernel_{machine_.kernel()};
    Backend backend_ = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel_}).value();
    vfio::Device device_ =
        vfio::Cdev::open("00:10.0", {.kernel = &kernel_, .name = {}}).value().bind(backend_).value();
    dma::Space space_ = dma::Space::on(backend_).value();
    dma::Attachment attachment_ = space_.attach(device_).value();
    dma::Memory memory_ = dma::Memory::memfd(1_MiB).value();
    dma::Mapping mapping_ = space_.map(memory_, {.iova = kBase}).value();
};

TEST_F(EduTest, IsFoundAndStartedByItsIdentity) {
    const auto kind = find(device_).value();
    ASSERT_TRUE(kind);
    EXPECT_STREQ(kind->name, "edu");
    EXPECT_EQ(kind->dma_bits, 28U);
    const auto driver = start(device_, {}).value();
    EXPECT_THAT(driver->identify().value(), HasSubstr("QEMU edu 1.0"));
    EXPECT_FALSE(driver->keeps_what_it_reads());
}

TEST_F(EduTest, CopiesAnyLengthThroughItsBufferWithAnInterruptForEachPiece) {
    auto edu = Edu::start(device_).value();
    for (std::size_t i = 0; i < memory_.size(); ++i)
        memory_.data()[i] = static_cast<std::byte>(i * 31 + (i >> 8));
    ASSERT_TRUE(edu.copy(kBase + 512_KiB, kBase + 3, 10'001));
    EXPECT_EQ(std::memcmp(memory_.data() + 512_KiB, memory_.data() + 3, 10'001), 0);
    EXPECT_EQ(edu.interrupts(), 6U);  // three pieces, in and out
}

TEST_F(EduTest, WorksByLookingWhereThereAreNoInterrupts) {
    kernel_.refuses = true;
    auto edu = Edu::start(device_).value();
    memory_.data()[0] = std::byte{42};
    ASSERT_TRUE(edu.copy(kBase + 4_KiB, kBase, 1));
    EXPECT_EQ(memory_.data()[4096], std::byte{42});
    EXPECT_EQ(edu.interrupts(), 0U);
}

TEST_F(EduTest, CanBeStartedAgainOnTheSameDevice) {
    for (int round = 0; round < 3; ++round) {
        auto edu = Edu::start(device_).value();
        ASSERT_TRUE(edu.copy(kBase, kBase + 4_KiB, 4_KiB));
        EXPECT_EQ(edu.interrupts(), 2U);
    }
}

TEST_F(EduTest, RefusesWhatItsAddressBitsWouldCutOff) {
    auto edu = Edu::start(device_).value();
    constexpr std::uint64_t kReach = 1 << 28;
    for (const std::uint64_t address :
         {kReach, kReach - 1, kReach << 8, ~std::uint64_t{0}, ~std::uint64_t{0} - 4095}) {
        EXPECT_EQ(edu.read_memory(Iova{address}, 4096).error().code(), EINVAL) << address;
        EXPECT_EQ(edu.write_memory(Iova{address}, 4096).error().code(), EINVAL) << address;
    }
    EXPECT_EQ(edu.read_memory(kBase, 0).error().code(), EINVAL);
    EXPECT_EQ(edu.read_memory(kBase, 4097).error().code(), EINVAL);
    EXPECT_EQ(machine_.blocked_dma_count(), 0U);
}

TEST_F(EduTest, DmaToWhatIsNotMappedIsBlockedBothWays) {
    auto edu = Edu::start(device_).value();
    const Iova hole = kBase + 1_MiB;
    ASSERT_TRUE(edu.read_memory(hole, 64));
    ASSERT_TRUE(edu.write_memory(hole, 64));
    ASSERT_EQ(machine_.blocked_dma_count(), 2U);
    EXPECT_FALSE(machine_.blocked_dma()[0].write);
    EXPECT_TRUE(machine_.blocked_dma()[1].write);
    EXPECT_EQ(machine_.blocked_dma()[1].iova, hole.value);
}

TEST_F(EduTest, ADriverKeepsItsDeviceWhateverGoesFirst) {
    std::optional<vfio::Device> device(std::move(device_));
    auto edu = std::optional(Edu::start(*device).value());
    device.reset();
    EXPECT_TRUE(edu->copy(kBase, kBase + 4_KiB, 16));
    edu.reset();
    EXPECT_EQ(machine_.leaks().devices, 1U) << "the space keeps it, too";
    EXPECT_TRUE(std::move(attachment_).detach());
    EXPECT_EQ(machine_.leaks().devices, 0U);
}

}  // namespace
}  // namespace iommufd::drivers
