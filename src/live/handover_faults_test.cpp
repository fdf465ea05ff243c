// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The walk over every failure point of a hand-over: with the n-th system call failing, then with the n-th allocation failing,
// for every n. Whatever fails, the one that has the instance then takes it down, and nothing is left.
#include <cerrno>

#include "live/testing.hpp"
#include "support/allocation_faults.hpp"

namespace iommufd::live {
namespace {

// Stops at the first error, and lets everything go.
Result<void> hand_over_and_tear_down(sys::Kernel& kernel, sys::Kernel& plain) {
    auto backend = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel});
    if (!backend) return backend.error();
    auto cdev = vfio::Cdev::open("00:10.0", {.kernel = &kernel, .name = {}});
    if (!cdev) return cdev.error();
    auto device = std::move(*cdev).bind(*backend);
    if (!device) return device.error();
    auto space = dma::Space::on(*backend, {.id = "dma0"});
    if (!space) return space.error();
    auto joined = space->attach(*device);
    if (!joined) return joined.error();
    auto memory = dma::Memory::memfd(256_KiB, {.label = "ram", .host_nodes = {}, .kernel = &kernel});
    if (!memory) return memory.error();
    auto mapped = space->map(*memory, {.iova = testing::kBase});
    if (!mapped) return mapped.error();

    const Instance instance = [&] {
        const AllocationFaults::Armed not_now(0);  // this is not what is tried
        return Instance{*backend, {&*space}, {&*device}, {}};
    }();
    auto handover = save(instance);
    if (!handover) {
        // Nothing has changed: it goes on.
        auto more = space->map(*memory, {.iova = testing::kBase + 16_MiB});
        return more || more.error().code() == ENOMEM || more.error().code() == EIO
                   ? Result<void>(handover.error())
                   : Result<void>(Error(Operation::none, EBADFD));
    }
    Package received;
    {
        const AllocationFaults::Armed not_now(0);
        received.state = handover->package().state;
        for (const int fd : handover->package().fds) received.fds.push_back(plain.dup(fd));
    }
    auto prepared = restore(std::move(received), {.report = {}, .kernel = &kernel});
    if (!prepared) return prepared.error();
    const Restored mine = std::move(*prepared).take();
    std::move(*handover).commit();
    return {};
}

TEST(HandoverFaultsTest, NothingIsLeftWhicheverSystemCallFails) {
    std::uint64_t n = 1;
    for (;; ++n) {
        model::Machine machine;
        vfio::Overlay kernel(machine.kernel(), {.call = n, .error = EIO});
        kernel.files["/proc/self/status"] = "CapEff:\t0000000000000000\n";
        const auto result = hand_over_and_tear_down(kernel, machine.kernel());
        ASSERT_TRUE(result || result.error().code() != EBADFD) << "call " << n << ": it is still frozen";
        ASSERT_FALSE(machine.leaks().any()) << "call " << n << " failed, and left " << machine.leaks().text();
        if (!kernel.struck()) break;
    }
    EXPECT_GT(n, 60U);
}

TEST(HandoverFaultsTest, NothingIsLeftWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    model::Machine machine;
    vfio::Overlay kernel(machine.kernel());
    kernel.files["/proc/self/status"] = "CapEff:\t0000000000000000\n";
    // What the model itself keeps is the same after every whole run.
    const auto whole = hand_over_and_tear_down(kernel, machine.kernel());
    ASSERT_TRUE(whole) << whole.error().text();
    const std::int64_t before = AllocationFaults::live();
    std::uint64_t n = 1;
    for (;; ++n) {
        int code = 0;
        bool struck = false;
        {
            const AllocationFaults::Armed armed(n);
            const auto result = hand_over_and_tear_down(kernel, machine.kernel());
            code = result ? 0 : result.error().code();
            struck = armed.struck();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << "allocation " << n << " gave " << code;
        ASSERT_FALSE(machine.leaks().any())
            << "allocation " << n << " failed, and left " << machine.leaks().text();
        ASSERT_TRUE(hand_over_and_tear_down(kernel, machine.kernel()));
        ASSERT_EQ(AllocationFaults::live(), before) << "allocation " << n;
        if (!struck) break;
    }
    EXPECT_GT(n, 100U);
}

}  // namespace
}  // namespace iommufd::live
