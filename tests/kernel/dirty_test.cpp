// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking of a Space on the real kernel, behind the page tables of its mock device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <random>

#include "iommufd/dma/space.hpp"
#include "kernel/dirty_mock.hpp"
#include "kernel/recorder.hpp"

namespace iommufd::kernel_tests {
namespace {

using dma::Attachment;
using dma::DirtyFrom;
using dma::DirtyLog;
using dma::DirtySync;
using dma::Mapping;
using dma::Memory;
using dma::Space;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// The mock's IOVAs start at 16 MiB.
constexpr Iova kBase{0x10000000};
constexpr std::uint64_t kPage = 4_KiB;
using Runs = std::vector<Range>;

Range pages(std::uint64_t first, std::uint64_t count = 1) {
    return *Range::of(kBase + first * kPage, count * kPage);
}

// The machine's kernel, of which one page table can't start to track.
class RefusesToTrack final : public sys::FaultyKernel {
public:
    RefusesToTrack() : FaultyKernel(static_cast<sys::Kernel&>(Recorder::instance())) {}
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == uapi::kHwptSetDirtyTracking) {
            const auto& command = *static_cast<uapi::HwptSetDirtyTracking*>(argument);
            if (command.hwpt_id == refuses.value && command.flags != 0) return -EIO;
        }
        return FaultyKernel::ioctl(fd, request, argument);
    }
    HwptId refuses;
};

class DirtyTest : public ::testing::Test {
protected:
    void SetUp() override {
        const auto device = MockSpaceDevice::make(backend_, "mock");
        if (!device) GTEST_SKIP() << "this kernel has no mock device of our version";
        if (auto made = core::Hwpt::alloc(core::Context((*device)->context()), (*device)->id(),
                                          core::Ioas::alloc(core::Context((*device)->context())).value(),
                                          {.dirty_tracking = true});
            !made)
            GTEST_SKIP() << "this kernel tracks no dirty pages";
    }

    std::shared_ptr<MockSpaceDevice> device(std::string name = "mock", std::uint32_t flags = 0,
                                            bool own_iommu = false) {
        return MockSpaceDevice::make(backend_, std::move(name), flags, own_iommu).value();
    }
    Runs sync(const DirtyLog& log, Range range = {Iova{0}, Iova{~0ULL}}) {
        Runs all;
        last_ =
            log.sync(range,
                     [&](std::span<const Range> runs) { all.insert(all.end(), runs.begin(), runs.end()); })
                .value();
        return all;
    }
    static void write(const MockSpaceDevice& device, std::initializer_list<std::uint64_t> numbers) {
        for (const std::uint64_t number : numbers)
            EXPECT_EQ(device.write(kBase + number * kPage), 0) << number;
    }
    Mapping map(const Space& space, std::uint64_t first, std::uint64_t count, std::uint64_t granule = 0) {
        return space
            .map(memory_, {.iova = kBase + first * kPage,
                           .offset = first * kPage % memory_.size(),
                           .length = count * kPage,
                           .granule = granule})
            .value();
    }

    RefusesToTrack kernel_;
    std::vector<std::string> reports_;
    Backend backend_ =
        Backend::open({.id = "iommufd0",
                       .fd = {},
                       .report = [this](const Notice& notice) { reports_.push_back(notice.error.line()); },
                       .kernel = &kernel_})
            .value();
    // Exact to a page.
    Space space_ = Space::on(backend_, {.id = "dma0", .huge_pages = false}).value();
    Memory memory_ = Memory::memfd(16_MiB, {.label = "ram", .prealloc = true}).value();
    DirtySync last_;
};

TEST_F(DirtyTest, PagesAreToldOnceAcrossHolesAndInChunks) {
    const auto mock = device();
    const Attachment attached = space_.attach(mock).value();
    const Mapping a = map(space_, 0, 600);
    const Mapping b = map(space_, 600, 100);  // beside it
    const Mapping c = map(space_, 1000, 3);   // behind a hole
    const Mapping d = map(space_, 5003, 500);
    const DirtyLog log = space_.track_dirty({.from = {}, .chunk = 256_KiB}).value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(sync(log), IsEmpty());
    write(*mock, {0, 63, 64, 599, 600, 699, 1000, 1002, 5003, 5502});
    EXPECT_THAT(sync(log, pages(64, 536)), ElementsAre(pages(64), pages(599)));
    EXPECT_THAT(sync(log), ElementsAre(pages(0), pages(63), pages(600), pages(699), pages(1000), pages(1002),
                                       pages(5003), pages(5502)));
    EXPECT_THAT(sync(log), IsEmpty());
    EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(DirtyTest, PagesAtRandomBeyondTheFirst65536AreAllTold) {
    const Memory large = Memory::memfd(320_MiB, {.label = "large"}).value();
    const auto mock = device();
    const Attachment attached = space_.attach(mock).value();
    const Mapping mapping = space_.map(large, {.iova = kBase}).value();
    const DirtyLog log = space_.track_dirty({.from = {}, .chunk = 64_MiB}).value();
    std::mt19937_64 random(1);
    std::set<std::uint64_t> written{255, 256, 65535, 65536, 81919};
    while (written.size() < 300) written.insert(random() % (large.size() / kPage));
    for (const std::uint64_t page : written) ASSERT_EQ(mock->write(kBase + page * kPage), 0);
    std::set<std::uint64_t> told;
    for (const Range& run : sync(log))
        for (Iova at = run.first; at < run.last; at = at + kPage) told.insert((at - kBase) / kPage);
    EXPECT_EQ(told, written);
}

TEST_F(DirtyTest, AStartThatFailsOnTheSecondPageTableIsRolledBack) {
    const auto one = device("one");
    const Attachment first = space_.attach(one).value();
    const auto two = device("two", 0, true);
    two->others_end_at(one->table());
    const Attachment second = space_.attach(two).value();
    ASSERT_NE(one->table(), two->table());
    const Mapping mapping = map(space_, 0, 64);
    kernel_.refuses = two->table();
    EXPECT_EQ(space_.track_dirty().error().code(), EIO);
    EXPECT_EQ(one->write(kBase), -EINVAL) << "it would still track";
    EXPECT_EQ(two->write(kBase), -EINVAL);
    EXPECT_THAT(space_.not_released(), IsEmpty());

    kernel_.refuses = {};
    {
        const DirtyLog log = space_.track_dirty().value();
        write(*one, {1, 2});
        write(*two, {2, 3});
        EXPECT_THAT(sync(log), ElementsAre(pages(1, 3)));
    }
    EXPECT_EQ(one->write(kBase), -EINVAL) << "the log has gone";
}

TEST_F(DirtyTest, BitsAreReadBeforeAnUnmapAndToldAfterItOrAtOnce) {
    const auto mock = device();
    const Attachment attached = space_.attach(mock).value();
    map(space_, 0, 64, 16 * kPage).leave();
    std::optional<Mapping> owned = map(space_, 100, 16);
    const DirtyLog log = space_.track_dirty().value();
    write(*mock, {3, 20, 40, 105});
    EXPECT_TRUE(space_.unmap(pages(0, 16)));
    owned.reset();
    Runs dirty;
    EXPECT_TRUE(space_.unmap(pages(16, 16), {.deadline = {}, .dirty = &dirty}));
    EXPECT_THAT(dirty, ElementsAre(pages(20)));
    EXPECT_THAT(sync(log), ElementsAre(pages(3), pages(40), pages(105)));
    EXPECT_THAT(sync(log), IsEmpty());
}

TEST_F(DirtyTest, ALateDeviceIsTrackedFromItsFirstMomentOnAndItsLastBitsAreRead) {
    const auto one = device("one");
    const Attachment first = space_.attach(one).value();
    const Mapping mapping = map(space_, 0, 64);
    const DirtyLog log = space_.track_dirty().value();
    const auto two = device("two", 0, true);
    two->others_end_at(one->table());
    {
        const Attachment second = space_.attach(two).value();
        write(*two, {7});
        EXPECT_THAT(sync(log), ElementsAre(pages(7)));
        write(*two, {9});
    }
    EXPECT_THAT(sync(log), ElementsAre(pages(9)));
    EXPECT_FALSE(last_.changed);

    // One whose IOMMU has no dirty bits: everything, once now, and from then on.
    const auto blind = device("blind", uapi::mock::kDeviceNoDirty);
    {
        const Attachment third = space_.attach(blind).value();
        EXPECT_EQ(log.from(), DirtyFrom::everything);
        EXPECT_THAT(log.why(), HasSubstr("blind has no page table with dirty bits"));
        EXPECT_THAT(reports_, SizeIs(1));
        EXPECT_THAT(sync(log), ElementsAre(pages(0, 64)));
        EXPECT_TRUE(last_.changed);
    }
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 64)));
    write(*one, {5});
    EXPECT_THAT(sync(log), ElementsAre(pages(5)));
}

TEST_F(DirtyTest, ALargeIoPageIsDirtyAsAWholeAndNeverLost) {
    const Space large = Space::on(backend_, {.id = "large"}).value();
    const auto mock = device();
    const Attachment attached = large.attach(mock).value();
    const Memory memory =
        Memory::anonymous(4_MiB, {.label = "huge", .huge_pages = Memory::HugePages::transparent}).value();
    const std::uint64_t skew = -reinterpret_cast<std::uintptr_t>(memory.data()) % 2_MiB;
    std::fill_n(memory.data() + skew, 2_MiB, std::byte{1});
    const Mapping mapping = large.map(memory, {.iova = kBase, .offset = skew, .length = 2_MiB}).value();
    const DirtyLog log = large.track_dirty({.from = {}, .chunk = 256_KiB}).value();
    write(*mock, {100});
    const Runs first = sync(log, pages(100, 8));
    if (first == Runs{pages(100)}) GTEST_SKIP() << "the memory, or the mock, is not in one piece";
    EXPECT_THAT(first, ElementsAre(pages(100, 8)));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 100), pages(108, 404)));
}

}  // namespace
}  // namespace iommufd::kernel_tests
