// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking of a Space against an array of pages: random maps, unmaps, writes of devices and of those who play one, late
// devices and syncs of ranges agree on each page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/dirty_kernel.hpp"
#include "support/raw_device.hpp"

namespace iommufd::dma {
namespace {

using support::DirtyKernel;
using support::RawDevice;

constexpr Iova kBase{0x4000000 - (3ULL << 12)};  // not at the start of a word of bits
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 700;

class Play {
public:
    Play(std::uint64_t seed, bool any_page_size, std::uint64_t chunk) : random_(seed) {
        kernel_.separate_iommus = true;
        kernel_.any_page_size = any_page_size;
        first_.emplace(space_.attach(RawDevice::bind(backend_)).value());
        log_.emplace(space_.track_dirty({.from = {}, .chunk = chunk}).value());
    }

    void step() {
        switch (random_() % 12) {
            case 0:
            case 1:
                return map();
            case 2:
                return unmap();
            case 3:
            case 4:
            case 5:
            case 6:
                return device_writes();
            case 7:
            case 8:
                return translate();
            case 9:
                return second_device();
            default:
                return sync();
        }
    }
    void sync_all() { sync(0, kPages); }
    unsigned bad_reads() const { return kernel_.bad_reads(); }

private:
    struct Page {
        bool mapped = false;
        bool writable = false;
        bool dirty = false;
        std::uint64_t start = 0;  // of its mapping
        std::uint64_t granule = 0;
    };

    std::uint64_t below(std::uint64_t end) { return random_() % end; }
    static Range range(std::uint64_t first, std::uint64_t count) {
        return *Range::of(kBase + first * kPage, count * kPage);
    }

    void map() {
        const std::uint64_t first = below(kPages);
        const std::uint64_t granule = below(3) == 0 ? 1 + below(9) : 0;
        std::uint64_t count = 1 + below(below(3) == 0 ? 300 : 20);
        if (granule != 0) count = std::max(count / granule, std::uint64_t{1}) * granule;
        if (first + count > kPages) return;
        const bool writable = below(4) != 0;
        auto mapped = space_.map(memory_, {.iova = kBase + first * kPage,
                                           .offset = first * kPage,
                                           .length = count * kPage,
                                           .access = writable ? Access::read_write : Access::read,
                                           .granule = granule * kPage});
        if (!mapped) return;
        std::move(*mapped).leave();
        for (std::uint64_t i = first; i < first + count; ++i)
            pages_[i] = {.mapped = true,
                         .writable = writable,
                         .dirty = pages_[i].dirty,
                         .start = first,
                         .granule = granule};
    }

    void unmap() {
        const std::uint64_t at = below(kPages);
        if (!pages_[at].mapped) return;
        std::uint64_t first = at;
        std::uint64_t end = at + 1;
        if (const std::uint64_t granule = pages_[at].granule; granule != 0) {
            first = pages_[at].start + (at - pages_[at].start) / granule * granule;
            end = first + granule;
        } else {
            while (first > 0 && pages_[first - 1].mapped && pages_[first - 1].start == pages_[at].start)
                --first;
            while (end < kPages && pages_[end].mapped && pages_[end].start == pages_[at].start) ++end;
        }
        std::vector<Range> dirty;
        const bool at_once = below(2) == 0;
        ASSERT_EQ(
            space_.unmap(range(first, end - first), {.deadline = {}, .dirty = at_once ? &dirty : nullptr})
                .value(),
            (end - first) * kPage);
        if (at_once) compare(first, end, dirty);
        for (std::uint64_t i = first; i < end; ++i) pages_[i] = {.dirty = pages_[i].dirty};
    }

    void device_writes() {
        const std::uint64_t at = below(kPages);
        if (!pages_[at].mapped || !pages_[at].writable) return;
        ASSERT_TRUE(
            kernel_.device_writes((kBase + at * kPage).value, second_ && below(2) == 0 ? newest_ : 1));
        pages_[at].dirty = true;
    }

    void translate() {
        const std::uint64_t at = below(kPages);
        const std::uint64_t count = 1 + below(40);
        const bool write = below(2) == 0;
        const Guard guard = reader_.enter();
        const auto bytes =
            guard.translate(kBase + (at * kPage + 17), count * kPage, write ? Access::write : Access::read);
        if (write && !bytes.empty())
            for (std::uint64_t i = at; i <= at + (16 + bytes.size()) / kPage; ++i) pages_[i].dirty = true;
    }

    void second_device() {
        if (second_)
            second_.reset();
        else {
            second_.emplace(space_.attach(RawDevice::bind(backend_, "/dev/vfio/devices/vfio1")).value());
            ++newest_;
        }
    }

    void sync() {
        if (below(3) == 0) return sync(0, kPages);
        const std::uint64_t first = below(kPages);
        sync(first, first + 1 + below(kPages - first));
    }
    void sync(std::uint64_t first, std::uint64_t end) {
        std::vector<Range> dirty;
        const auto told = log_->sync(range(first, end - first), [&](std::span<const Range> runs) {
            dirty.insert(dirty.end(), runs.begin(), runs.end());
        });
        ASSERT_TRUE(told) << told.error().text();
        compare(first, end, dirty);
    }

    // What was told of these pages, which are clean from here on.
    void compare(std::uint64_t first, std::uint64_t end, const std::vector<Range>& told) {
        std::vector<Range> expected;
        for (std::uint64_t i = first; i < end; ++i) {
            if (!std::exchange(pages_[i].dirty, false)) continue;
            if (!expected.empty() && expected.back().last + 1 == kBase + i * kPage)
                expected.back().last = range(i, 1).last;
            else
                expected.push_back(range(i, 1));
        }
        ASSERT_EQ(told, expected);
    }

    std::mt19937_64 random_;
    model::Machine machine_{
        {.devices = {{.kind = model::DeviceKind::edu}, {.kind = model::DeviceKind::edu}}}};
    DirtyKernel kernel_{machine_.kernel()};
    Backend backend_ = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel_}).value();
    Space space_ = Space::on(backend_, {.id = "dma0"}).value();
    Memory memory_ = Memory::memfd(kPages * kPage, {.label = "ram"}).value();
    Reader reader_ = space_.reader("play");
    std::optional<Attachment> first_;
    std::optional<Attachment> second_;
    unsigned newest_ = 1;
    std::optional<DirtyLog> log_;
    Page pages_[kPages];
};

class SpaceDirtyPropertyTest : public ::testing::TestWithParam<bool> {};

TEST_P(SpaceDirtyPropertyTest, EachPageIsToldExactlyWhenItWasWritten) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        Play play(seed, GetParam(), seed % 2 == 0 ? 256_KiB : 1_GiB);
        for (int step = 0; step < 1500; ++step) {
            play.step();
            ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "seed " << seed << ", step " << step;
        }
        play.sync_all();
        ASSERT_EQ(play.bad_reads(), 0U) << "seed " << seed;
    }
}

INSTANTIATE_TEST_SUITE_P(Behind, SpaceDirtyPropertyTest, ::testing::Values(false, true), [](const auto& of) {
    return of.param ? "AnIommuWithAnyPageSize" : "AnIommuWithThreePageSizes";
});

}  // namespace
}  // namespace iommufd::dma
