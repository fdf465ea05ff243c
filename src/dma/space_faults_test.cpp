// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The walk over every failure point: a sequence of map, replay, attach and tear-down is run with the n-th
// system call failing, then with the n-th allocation failing, for every n. Whatever fails, nothing may be
// left.
#include <gtest/gtest.h>

#include <cerrno>

#include "error/guarded.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/allocation_faults.hpp"
#include "support/fake_sink.hpp"
#include "support/raw_device.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using support::RawDevice;

constexpr Iova kBase{0x4000000};

// Plan, attach (replay), map more, attach a second sink, unmap by range, detach, attach again. Stops at the
// first error, and lets everything go.
Result<void> bring_up_and_tear_down(sys::Kernel& kernel) {
    auto backend = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel});
    if (!backend) return backend.error();
    auto memory = Memory::memfd(256_KiB, {.label = "ram", .huge_page_size = 0, .kernel = &kernel});
    if (!memory) return memory.error();
    auto space = Space::on(*backend, {.id = "dma0"});
    if (!space) return space.error();
    auto planned = space->map(*memory, {.iova = kBase, .granule = 64_KiB});
    if (!planned) return planned.error();
    for (int round = 0; round < 2; ++round) {
        auto device = RawDevice::bind_or_error(*backend, "/dev/vfio/devices/vfio0", 28);
        if (!device) return device.error();
        auto attached = space->attach(*device);
        if (!attached) return attached.error();
        auto mapped = space->map(*memory, {});
        if (!mapped) return mapped.error();
        auto sink = guarded(Operation::none, [&]() -> Result<std::shared_ptr<FakeSink>> {
            return std::make_shared<FakeSink>("sink");
        });
        if (!sink) return sink.error();
        auto both = space->attach(*sink);
        if (!both) return both.error();
        if (auto gone = std::move(*mapped).unmap(); !gone) return gone;
        if (auto parted = std::move(*both).detach(); !parted) return parted;
    }
    std::move(*planned).leave();
    return space->unmap(*Range::of(kBase, 128_KiB)).transform([](std::uint64_t) {});
}

class SpaceSystemCallFaultsTest : public ::testing::TestWithParam<bool> {};

TEST_P(SpaceSystemCallFaultsTest, NothingIsLeftWhicheverSystemCallFails) {
    const bool after_effect = GetParam();
    std::uint64_t n = 1;
    for (;; ++n) {
        model::Machine machine;
        sys::FaultyKernel kernel(machine.kernel(), {.call = n, .error = EIO, .after_effect = after_effect});
        (void)bring_up_and_tear_down(kernel);
        ASSERT_FALSE(machine.leaks().any()) << "call " << n << " failed, and left " << machine.leaks().text();
        if (!kernel.struck()) break;
    }
    EXPECT_GT(n, 40U);
}

INSTANTIATE_TEST_SUITE_P(Releasing, SpaceSystemCallFaultsTest, ::testing::Values(false, true),
                         [](const auto& of) { return of.param ? "FailsAfterItsEffect" : "FailsBefore"; });

TEST(SpaceFaultsTest, NothingIsLeftWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    model::Machine machine;
    // What the model itself keeps is the same after every whole run.
    ASSERT_TRUE(bring_up_and_tear_down(machine.kernel()));
    const std::int64_t before = AllocationFaults::live();
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        int code = 0;
        {
            const AllocationFaults::Armed armed(n);
            const auto result = bring_up_and_tear_down(machine.kernel());
            if (!result) code = result.error().code();
            struck = armed.struck();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << "allocation " << n << " gave " << errno_name(code);
        ASSERT_FALSE(machine.leaks().any()) << "allocation " << n << " left " << machine.leaks().text();
        ASSERT_TRUE(bring_up_and_tear_down(machine.kernel()));
        ASSERT_EQ(AllocationFaults::live(), before) << "allocation " << n << " left memory behind";
    }
    EXPECT_GT(n, 40U);
}

}  // namespace
}  // namespace iommufd::dma
