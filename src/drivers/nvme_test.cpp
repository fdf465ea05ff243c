// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The NVMe driver on the model's controller, by system calls and through a BAR that it has mapped.
#include "drivers/nvme.hpp"

#include <gmock/gmock.h>

#include <cstring>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/region.hpp"

namespace iommufd::drivers {
namespace {

constexpr Iova kBase{0x4000000};

class NvmeTest : public ::testing::TestWithParam<bool> {
protected:
    Window window() const { return {.memory = memory_.data(), .iova = kBase, .size = 64_KiB}; }

    model::Machine machine_{{.devices = {{.kind = model::DeviceKind::nvme, .polls_doorbells = GetParam()}}}};
    Backend backend_ =
        Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &machine_.kernel()}).value();
    vfio::Device device_ = vfio::Cdev::open("00:10.0", {.kernel = &machine_.kernel(), .name = {}})
                               .value()
                               .bind(backend_)
                               .value();
    dma::Space space_ = dma::Space::on(backend_).value();
    dma::Attachment attachment_ = space_.attach(device_).value();
    dma::Memory memory_ = dma::Memory::memfd(2_MiB).value();
    dma::Mapping mapping_ = space_.map(memory_, {.iova = kBase}).value();
};

TEST_P(NvmeTest, ReadsWhatItWroteAndStartsAgain) {
    EXPECT_EQ(device_.region(0).value().mapped().size(), GetParam() ? 1U : 0U);
    const auto out = memory_.bytes().subspan(64_KiB, 512_KiB);
    const auto in = memory_.bytes().subspan(1_MiB, 512_KiB);
    for (unsigned round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 7 + round + i / 253);
        const auto disk = Nvme::start(device_, window()).value();
        ASSERT_TRUE(disk->write(1_MiB, kBase + 64_KiB, out.size()));
        ASSERT_TRUE(disk->flush());
        ASSERT_TRUE(disk->read(1_MiB, kBase + 1_MiB, in.size()));
        EXPECT_EQ(std::memcmp(in.data(), out.data(), out.size()), 0);
        EXPECT_TRUE(disk->stop());
        if (round == 1) ASSERT_TRUE(device_.reset());
    }
    EXPECT_EQ(machine_.blocked_dma_count(), 0U);
}

// More of them than a queue has places: its doorbells come round, and have each value again.
TEST_P(NvmeTest, DoesThousandsOfSmallReads) {
    const auto disk = Nvme::start(device_, window()).value();
    for (unsigned i = 0; i < 3000; ++i) ASSERT_TRUE(disk->read(0, kBase + 64_KiB, 512)) << i;
}

INSTANTIATE_TEST_SUITE_P(Registers, NvmeTest, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "Mapped" : "ByCalls"; });

}  // namespace
}  // namespace iommufd::drivers
