// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// No write is lost while all of it goes on at once: a replica that is made of what syncs tell is the same in the end.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/dirty_kernel.hpp"
#include "support/fake_sink.hpp"
#include "support/raw_device.hpp"

namespace iommufd::dma {
namespace {

using support::DirtyKernel;
using support::RawDevice;

constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 512;

using Word = std::atomic<std::uint64_t>;

TEST(SpaceDirtyThreadsTest, AReplicaMadeOfWhatSyncsTellIsTheSameInTheEnd) {
    model::Machine machine({.devices = {{.kind = model::DeviceKind::edu}, {.kind = model::DeviceKind::edu}}});
    DirtyKernel kernel(machine.kernel());
    kernel.separate_iommus = true;
    const Backend backend =
        Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel}).value();
    const Space space = Space::on(backend).value();
    const Memory memory = Memory::memfd(kPages * kPage, {.label = "ram"}).value();
    const Memory other = Memory::memfd(64 * kPage, {.label = "other"}).value();
    const Memory copy = Memory::anonymous(kPages * kPage).value();
    const Attachment attached = space.attach(RawDevice::bind(backend)).value();
    const Mapping mapping = space.map(memory, {.iova = kBase}).value();
    const auto word = [&](const Memory& of, std::uint64_t page) -> Word& {
        return *reinterpret_cast<Word*>(of.data() + page * kPage);
    };

    const DirtyLog log = space.track_dirty({.from = {}, .chunk = 512_KiB}).value();
    sys::Mutex copying;
    const auto replicate = [&] {
        const auto told = log.sync([&](std::span<const Range> runs) {
            const sys::Lock lock(copying);  // what is copied later is not older
            for (const Range& run : runs)
                for (Iova at = run.first; at < run.last && at < kBase + kPages * kPage; at = at + kPage) {
                    const std::uint64_t page = (at - kBase) / kPage;
                    word(copy, page)
                        .store(word(memory, page).load(std::memory_order_relaxed), std::memory_order_relaxed);
                }
        });
        EXPECT_TRUE(told) << told.error().text();
    };

    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (unsigned n = 0; n < 3; ++n)
        threads.emplace_back([&, n] {  // who plays a device
            std::mt19937_64 random(n);
            Reader reader = space.reader("writer");
            while (!stop) {
                const std::uint64_t page = random() % kPages;
                const Guard guard = reader.enter();
                const auto bytes = guard.translate(kBase + page * kPage, 8, Access::write);
                reinterpret_cast<Word*>(bytes.data())->fetch_add(1, std::memory_order_relaxed);
            }
        });
    threads.emplace_back([&] {  // a device: memory first, as the bit of a page table is set
        std::mt19937_64 random(99);
        while (!stop) {
            const std::uint64_t page = random() % kPages;
            word(memory, page).fetch_add(1, std::memory_order_relaxed);
            if (!kernel.device_writes((kBase + page * kPage).value)) ADD_FAILURE() << "tracking is off";
            std::this_thread::yield();
        }
    });
    threads.emplace_back([&] {  // maps beside it
        while (!stop)
            for (std::uint64_t i = 0; i < 4; ++i) {
                auto mapped = space.map(other, {.iova = kBase + (kPages + i * 64) * kPage}).value();
                EXPECT_TRUE(std::move(mapped).unmap());
            }
    });
    threads.emplace_back([&] {  // a second device
        while (!stop) {
            const Attachment second =
                space.attach(RawDevice::bind(backend, "/dev/vfio/devices/vfio1")).value();
            std::this_thread::yield();
        }
    });
    threads.emplace_back([&] {
        while (!stop) replicate();
    });
    for (int round = 0; round < 150; ++round) replicate();
    stop = true;
    for (std::thread& thread : threads) thread.join();
    replicate();
    for (std::uint64_t page = 0; page < kPages; ++page)
        ASSERT_EQ(word(copy, page).load(), word(memory, page).load()) << "page " << page;
    EXPECT_EQ(kernel.bad_reads(), 0U);
}

}  // namespace
}  // namespace iommufd::dma
