// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking with the n-th system call failing, then with the n-th allocation failing, for every n: nothing is left, and no
// write is lost.
#include <gtest/gtest.h>

#include <cerrno>
#include <set>

#include "error/guarded.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/allocation_faults.hpp"
#include "support/dirty_devices.hpp"
#include "support/dirty_kernel.hpp"
#include "support/raw_device.hpp"

namespace iommufd::dma {
namespace {

using support::DirtyKernel;
using support::LoggingDevice;
using support::RawDevice;

constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kPage = 4096;

// What was told, one page after the other, without memory.
struct Told {
    bool pages[64] = {};
    void operator()(std::span<const Range> runs) {
        for (const Range& run : runs)
            for (Iova at = run.first; at < run.last; at = at + kPage) pages[(at - kBase) / kPage] = true;
    }
};

// Tracks, writes, unmaps, attaches a second device, syncs; stops at the first error, but for syncs, which are made once more.
Result<void> track(sys::Kernel& machine, std::shared_ptr<DirtyKernel> kernel, bool logs, bool& lost) {
    kernel->separate_iommus = true;
    auto backend = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = kernel.get()});
    if (!backend) return backend.error();
    auto memory = Memory::memfd(64 * kPage, {.label = "ram", .huge_page_size = 0, .kernel = &machine});
    if (!memory) return memory.error();
    auto space = Space::on(*backend, {.id = "dma0"});
    if (!space) return space.error();
    auto first = space->map(*memory, {.iova = kBase, .length = 16 * kPage});
    if (!first) return first.error();
    auto second = space->map(*memory, {.iova = kBase + 32 * kPage, .length = 16 * kPage});
    if (!second) return second.error();
    auto raw = RawDevice::bind_or_error(*backend, "/dev/vfio/devices/vfio0", 64);
    if (!raw) return raw.error();
    std::shared_ptr<LoggingDevice> logging;
    std::shared_ptr<Attachable> device = *raw;
    if (logs) {
        auto made = guarded(Operation::none, [&]() -> Result<std::shared_ptr<LoggingDevice>> {
            return std::make_shared<LoggingDevice>(*raw);
        });
        if (!made) return made.error();
        device = logging = *made;
    }
    auto attached = space->attach(device);
    if (!attached) return attached.error();
    auto log = space->track_dirty();
    if (!log) return log.error();

    std::set<std::uint64_t> written;
    Told told;
    const auto write = [&](std::uint64_t page) -> Result<void> {
        return guarded(Operation::none, [&]() -> Result<void> {
            written.insert(page);
            const Iova iova = kBase + page * kPage;
            if (logs && logging->log.on) logging->log.write(iova);
            (void)kernel->device_writes(iova.value);
            return {};
        });
    };
    // What fails may be tried again, and then tells everything.
    const auto sync = [&]() -> Result<void> {
        auto synced = log->sync(told);
        if (!synced) synced = log->sync(told);
        if (!synced) return synced.error();
        for (const std::uint64_t page : written) lost = lost || !told.pages[page];
        return {};
    };
    if (auto done = write(3); !done) return done;
    if (auto done = sync(); !done) return done;
    told = {};
    written.clear();
    if (auto done = write(5); !done) return done;
    if (auto done = write(40); !done) return done;
    if (auto unmapped = std::move(*first).unmap(); !unmapped) return unmapped;
    if (auto done = sync(); !done) return done;

    auto other = RawDevice::bind_or_error(*backend, "/dev/vfio/devices/vfio1", 64);
    if (!other) return other.error();
    auto late = space->attach(*other);
    if (!late) return late.error();
    if (auto done = write(41); !done) return done;
    if (auto gone = std::move(*late).detach(); !gone) return gone;
    if (auto done = sync(); !done) return done;
    return std::move(*log).stop();
}

model::Description two_devices() {
    return {.devices = {{.kind = model::DeviceKind::edu}, {.kind = model::DeviceKind::edu}}};
}

class SpaceDirtyFaultsTest : public ::testing::TestWithParam<bool> {};

TEST_P(SpaceDirtyFaultsTest, NothingIsLeftOrLostWhicheverSystemCallFails) {
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        model::Machine machine(two_devices());
        const auto kernel =
            std::make_shared<DirtyKernel>(machine.kernel(), sys::Fault{.call = n, .error = EIO});
        bool lost = false;
        (void)track(machine.kernel(), kernel, GetParam(), lost);
        EXPECT_FALSE(lost) << "call " << n;
        ASSERT_FALSE(machine.leaks().any()) << "call " << n << " failed, and left " << machine.leaks().text();
        struck = kernel->struck();
    }
    EXPECT_GT(n, 30U);
}

TEST_P(SpaceDirtyFaultsTest, NothingIsLeftOrLostWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    model::Machine machine(two_devices());
    bool lost = false;
    ASSERT_TRUE(track(machine.kernel(), std::make_shared<DirtyKernel>(machine.kernel()), GetParam(), lost));
    const std::int64_t before = AllocationFaults::live();
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        int code = 0;
        {
            auto kernel = std::make_shared<DirtyKernel>(machine.kernel());
            const AllocationFaults::Armed armed(n);
            const auto result = track(machine.kernel(), kernel, GetParam(), lost);
            if (!result) code = result.error().code();
            struck = armed.struck();
        }
        ASSERT_TRUE(code == 0 || code == ENOMEM) << "allocation " << n << " gave " << errno_name(code);
        ASSERT_FALSE(lost) << "allocation " << n;
        ASSERT_FALSE(machine.leaks().any()) << "allocation " << n << " left " << machine.leaks().text();
        ASSERT_EQ(AllocationFaults::live(), before) << "allocation " << n << " left memory behind";
    }
    EXPECT_GT(n, 60U);
}

INSTANTIATE_TEST_SUITE_P(Of, SpaceDirtyFaultsTest, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "ALog" : "APageTable"; });

}  // namespace
}  // namespace iommufd::dma
