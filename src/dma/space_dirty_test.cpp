// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking of a Space: on a kernel with dirty bits that behaves as Linux does, and with devices that log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/dirty_devices.hpp"
#include "support/dirty_kernel.hpp"
#include "support/fake_sink.hpp"
#include "support/raw_device.hpp"

namespace iommufd::dma {

void PrintTo(const Range& range, std::ostream* out) {
    *out << std::hex << "[0x" << range.first.value << ", 0x" << range.last.value << "]" << std::dec;
}

namespace {

using support::DirtyKernel;
using support::FakeSink;
using support::LoggingDevice;
using support::RawDevice;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kPage = 4096;
using Runs = std::vector<Range>;

// Pages [first, first + count) behind kBase.
Range pages(std::uint64_t first, std::uint64_t count = 1) {
    return *Range::of(kBase + first * kPage, count * kPage);
}

class SpaceDirtyTest : public ::testing::Test {
protected:
    void TearDown() override {
        EXPECT_EQ(kernel_.bad_reads(), 0U) << "a read that Linux would answer wrongly";
    }

    Runs sync(const DirtyLog& log, Range range = {Iova{0}, Iova{~0ULL}}) {
        Runs all;
        const auto done = log.sync(
            range, [&](std::span<const Range> runs) { all.insert(all.end(), runs.begin(), runs.end()); });
        EXPECT_TRUE(done) << done.error().text();
        last_ = done.value();
        std::uint64_t bytes = 0;
        for (const Range& run : all) bytes += run.length();
        EXPECT_EQ(last_.bytes, bytes);
        EXPECT_EQ(last_.from, log.from());
        return all;
    }
    void device_writes(std::initializer_list<std::uint64_t> numbers, unsigned table = 1) {
        for (const std::uint64_t number : numbers)
            EXPECT_TRUE(kernel_.device_writes((kBase + number * kPage).value, table));
    }
    Mapping map(std::uint64_t first, std::uint64_t count, Access access = Access::read_write) {
        return space_
            .map(memory_, {.iova = kBase + first * kPage,
                           .offset = first * kPage,
                           .length = count * kPage,
                           .access = access})
            .value();
    }
    std::shared_ptr<RawDevice> device(unsigned number = 0) {
        return RawDevice::bind(backend_, number == 0 ? "/dev/vfio/devices/vfio0" : "/dev/vfio/devices/vfio1");
    }

    model::Machine machine_{
        {.devices = {{.kind = model::DeviceKind::edu}, {.kind = model::DeviceKind::edu}}}};
    DirtyKernel kernel_{machine_.kernel()};
    std::vector<std::string> reports_;
    Backend backend_ =
        Backend::open({.id = "iommufd0",
                       .fd = {},
                       .report = [this](const Notice& notice) { reports_.push_back(notice.error.line()); },
                       .kernel = &kernel_})
            .value();
    Space space_ = Space::on(backend_, {.id = "dma0"}).value();
    Memory memory_ = Memory::memfd(16_MiB, {.label = "ram"}).value();
    DirtySync last_;
};

// --- who plays a device -------------------------------------------------------------------------

TEST_F(SpaceDirtyTest, WhatIsTranslatedForWritingIsTold) {
    const Mapping mapping = map(0, 1024);
    Reader reader = space_.reader();
    {
        const Guard guard = reader.enter();
        EXPECT_EQ(guard.translate(kBase, 8, Access::write).size(), 8U);
    }
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::nowhere);
    EXPECT_THAT(sync(log), IsEmpty()) << "what was written before doesn't count";
    {
        const Guard guard = reader.enter();
        EXPECT_EQ(guard.translate(kBase + 5 * kPage, 8, Access::read).data(), memory_.data() + 5 * kPage);
        EXPECT_EQ(guard.translate(kBase + 7 * kPage + 4000, 200, Access::write).data(),
                  memory_.data() + 7 * kPage + 4000);
        EXPECT_EQ(guard.translate(kBase + 20 * kPage, kPage, Access::read_write).size(), kPage);
        EXPECT_THAT(guard.translate(kBase + 1024 * kPage, 8, Access::write), IsEmpty());
        std::vector<std::span<std::byte>> pieces;
        EXPECT_TRUE(guard.translate(kBase + 60 * kPage, 70 * kPage, Access::write, pieces));
        EXPECT_EQ(guard.iova_of(memory_.data() + 9 * kPage, 8), kBase + 9 * kPage);
    }
    EXPECT_THAT(sync(log), ElementsAre(pages(7, 2), pages(20), pages(60, 70)));
    EXPECT_THAT(sync(log), IsEmpty());
}

TEST_F(SpaceDirtyTest, APageIsToldAgainAsLongAsTheGuardLivesThatMayWriteToIt) {
    const Mapping mapping = map(0, 16);
    Reader reader = space_.reader();
    const DirtyLog log = space_.track_dirty({.from = {}, .patience = std::chrono::milliseconds(0)}).value();
    {
        const Guard guard = reader.enter();
        EXPECT_EQ(guard.translate(kBase, 8, Access::write).size(), 8U);
        EXPECT_THAT(sync(log), ElementsAre(pages(0)));
        EXPECT_THAT(sync(log), ElementsAre(pages(0)));
    }
    EXPECT_THAT(sync(log), ElementsAre(pages(0)));
    EXPECT_THAT(sync(log), IsEmpty());
}

TEST_F(SpaceDirtyTest, AWriterThatMayNotReadIsMarkedAsWell) {
    const Mapping writable = map(0, 16, Access::write);
    const Mapping readable = map(16, 16, Access::read);
    Reader reader = space_.reader();
    std::optional<DirtyLog> log = space_.track_dirty().value();
    for (int round = 0; round < 2; ++round) {
        {
            const Guard guard = reader.enter();
            EXPECT_EQ(guard.translate(kBase, 32 * kPage, Access::write).size(), 16 * kPage);
            EXPECT_THAT(guard.translate(kBase, 8, Access::read), IsEmpty());
            EXPECT_THAT(guard.translate(kBase, 8, Access::read_write), IsEmpty());
            EXPECT_EQ(guard.translate(kBase + 16 * kPage, 8, Access::read).size(), 8U);
            EXPECT_THAT(guard.translate(kBase + 16 * kPage, 8, Access::write), IsEmpty());
        }
        if (log) {
            EXPECT_THAT(sync(*log), ElementsAre(pages(0, 16)));
        }
        log.reset();
    }
}

TEST_F(SpaceDirtyTest, TheStartWaitsForGuardsThatMayHaveTranslatedBefore) {
    const Mapping mapping = map(0, 16);
    Reader reader = space_.reader();
    std::optional<Guard> guard = reader.enter();
    std::atomic<bool> started = false;
    std::thread starter([&] {
        const DirtyLog log = space_.track_dirty().value();
        started = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(started);
    guard.reset();
    starter.join();
    EXPECT_TRUE(started);
}

TEST_F(SpaceDirtyTest, ThisThreadsOwnGuardRefusesTheStart) {
    Reader reader = space_.reader("mine");
    const Guard guard = reader.enter();
    const auto log = space_.track_dirty();
    EXPECT_EQ(log.error().code(), EDEADLK);
    EXPECT_THAT(log.error().line(), HasSubstr("'mine'"));
}

TEST_F(SpaceDirtyTest, OnlyOneTracksAtATimeAndAnotherMayAfterIt) {
    const Mapping mapping = map(0, 16);
    const Attachment attached = space_.attach(device()).value();
    for (int round = 0; round < 2; ++round) {
        DirtyLog log = space_.track_dirty().value();
        EXPECT_EQ(space_.track_dirty().error().code(), EBUSY);
        device_writes({3});
        EXPECT_TRUE(std::move(log).stop());
        EXPECT_FALSE(kernel_.is_on());
    }
    EXPECT_THAT(sync(space_.track_dirty().value()), IsEmpty());
    EXPECT_THAT(reports_, IsEmpty());
}

// --- page tables --------------------------------------------------------------------------------

TEST_F(SpaceDirtyTest, WhatADeviceWritesIsToldAcrossHolesAndOnce) {
    const Attachment attached = space_.attach(device()).value();
    const Mapping a = map(0, 16);
    const Mapping b = map(16, 100);  // beside it
    const Mapping c = map(200, 3);   // behind a hole
    const Mapping far = space_.map(memory_, {.iova = Iova{1ULL << 40}, .length = 16 * kPage}).value();
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(log.why(), HasSubstr("has no log"));
    EXPECT_THAT(sync(log), IsEmpty());
    device_writes({1, 15, 16, 17, 115, 200, 202});
    EXPECT_TRUE(kernel_.device_writes((1ULL << 40) + 3 * kPage));
    EXPECT_THAT(sync(log), ElementsAre(pages(1), pages(15, 3), pages(115), pages(200), pages(202),
                                       *Range::of(Iova{(1ULL << 40) + 3 * kPage}, kPage)));
    EXPECT_THAT(sync(log), IsEmpty());
    EXPECT_FALSE(last_.changed);
    EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(SpaceDirtyTest, ASyncOfARangeLeavesTheRest) {
    const Attachment attached = space_.attach(device()).value();
    const Mapping mapping = map(0, 1024);
    const DirtyLog log = space_.track_dirty().value();
    device_writes({3, 100, 101, 102, 103, 500});
    EXPECT_THAT(sync(log, pages(101, 2)), ElementsAre(pages(101, 2)));
    EXPECT_THAT(sync(log, {kBase + (102 * kPage + 5), kBase + 103 * kPage}), ElementsAre(pages(103)));
    EXPECT_THAT(sync(log), ElementsAre(pages(3), pages(100), pages(500)));
}

TEST_F(SpaceDirtyTest, NoIoPageIsCutByASyncOfARangeByChunksOrByGranules) {
    kernel_.any_page_size = true;
    kernel_.largest_page = 2_MiB;
    const Attachment attached = space_.attach(device()).value();
    const Mapping whole = map(0, 1024);
    const Mapping cut =
        space_.map(memory_, {.iova = kBase + 8_MiB, .length = 4_MiB, .granule = 64_KiB}).value();
    const DirtyLog log = space_.track_dirty({.from = {}, .chunk = 256_KiB}).value();
    device_writes({700, 2048 + 5});
    EXPECT_THAT(sync(log, pages(700)), ElementsAre(pages(700)));
    EXPECT_THAT(sync(log, pages(512, 100)), ElementsAre(pages(512, 100)));
    EXPECT_THAT(sync(log), ElementsAre(pages(612, 88), pages(701, 323), pages(2048, 16)));
    EXPECT_THAT(sync(log), IsEmpty());
}

TEST_F(SpaceDirtyTest, SmallIoPagesAreReadInChunks) {
    const Space small = Space::on(backend_, {.id = "small", .huge_pages = false}).value();
    const Attachment attached = small.attach(device()).value();
    const Mapping mapping = small.map(memory_, {.iova = kBase, .length = 4_MiB}).value();
    const DirtyLog log = small.track_dirty({.from = {}, .chunk = 1_MiB}).value();
    device_writes({0, 255, 256, 1023});
    EXPECT_THAT(sync(log), ElementsAre(pages(0), pages(255, 2), pages(1023)));
    EXPECT_EQ(kernel_.reads(), 4U);
}

TEST_F(SpaceDirtyTest, WhatBehindSeveralIommusIsWrittenIsToldTogether) {
    kernel_.separate_iommus = true;
    const Attachment one = space_.attach(device(0)).value();
    const Attachment two = space_.attach(device(1)).value();
    const Mapping mapping = map(0, 64);
    const DirtyLog log = space_.track_dirty().value();
    device_writes({1, 2}, 1);
    device_writes({2, 3}, 2);
    EXPECT_THAT(sync(log), ElementsAre(pages(1, 3)));
}

TEST_F(SpaceDirtyTest, AStartThatFailsOnTheSecondPageTableIsRolledBack) {
    kernel_.separate_iommus = true;
    const Attachment one = space_.attach(device(0)).value();
    const Attachment two = space_.attach(device(1)).value();
    const Mapping mapping = map(0, 64);
    kernel_.fail_start[2] = EIO;
    const auto log = space_.track_dirty();
    ASSERT_FALSE(log);
    EXPECT_EQ(log.error().code(), EIO);
    EXPECT_THAT(log.error().line(), HasSubstr("cannot track the dirty pages of 'dma0'"));
    EXPECT_FALSE(kernel_.is_on(1));
    EXPECT_FALSE(kernel_.is_on(2));
    EXPECT_THAT(space_.not_released(), IsEmpty());
    kernel_.fail_start.clear();
    EXPECT_THAT(sync(space_.track_dirty().value()), IsEmpty());
}

TEST_F(SpaceDirtyTest, WhatCannotBeStoppedIsReportedListedAndTriedAgain) {
    kernel_.separate_iommus = true;
    const Attachment one = space_.attach(device(0)).value();
    const Attachment two = space_.attach(device(1)).value();
    kernel_.fail_start[2] = EIO;
    kernel_.fail_stop[1] = EBUSY;
    EXPECT_EQ(space_.track_dirty().error().code(), EIO);
    EXPECT_TRUE(kernel_.is_on(1));
    EXPECT_THAT(reports_, SizeIs(1));
    ASSERT_THAT(space_.not_released(), SizeIs(1));
    EXPECT_THAT(space_.not_released()[0].object, HasSubstr("the tracking of dirty pages of 'dma0' by hwpt"));
    EXPECT_EQ(space_.not_released()[0].code, EBUSY);
    EXPECT_EQ(space_.retry_releases(), 1U);
    kernel_.fail_stop.clear();
    EXPECT_EQ(space_.retry_releases(), 0U);
    EXPECT_FALSE(kernel_.is_on(1));
    EXPECT_THAT(space_.not_released(), IsEmpty());

    kernel_.fail_start.clear();
    DirtyLog log = space_.track_dirty().value();
    kernel_.fail_stop[2] = EIO;
    EXPECT_EQ(std::move(log).stop().error().code(), EIO);
    EXPECT_FALSE(kernel_.is_on(1));
    EXPECT_THAT(space_.not_released(), SizeIs(1));
    kernel_.fail_stop.clear();
}

TEST_F(SpaceDirtyTest, WhatCannotBeReadCountsAsWrittenAndIsToldByTheNextSync) {
    const Attachment attached = space_.attach(device()).value();
    const Mapping a = map(0, 16);
    const Mapping b = map(32, 16);
    const DirtyLog log = space_.track_dirty().value();
    device_writes({3});
    kernel_.fail_read[1] = EIO;
    bool called = false;
    const auto failed = log.sync([&](std::span<const Range>) { called = true; });
    EXPECT_EQ(failed.error().code(), EIO);
    EXPECT_FALSE(called);
    kernel_.fail_read.clear();
    device_writes({40});
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16), pages(40)));
    EXPECT_THAT(sync(log), IsEmpty());
}

// --- unmap --------------------------------------------------------------------------------------

TEST_F(SpaceDirtyTest, WhatWasWrittenBeforeAnUnmapIsToldAfterIt) {
    const Attachment attached = space_.attach(device()).value();
    map(0, 16).leave();
    std::optional<Mapping> owned = map(32, 16);
    const DirtyLog log = space_.track_dirty().value();
    device_writes({3, 4, 35});
    EXPECT_EQ(space_.unmap(pages(0, 16)).value(), 16 * kPage);
    owned.reset();
    EXPECT_EQ(kernel_.reads_that_keep(), 2U) << "the IOTLB would be flushed twice";
    EXPECT_THAT(sync(log), ElementsAre(pages(3, 2), pages(35)));
    EXPECT_THAT(sync(log), IsEmpty());
}

TEST_F(SpaceDirtyTest, AnUnmapWaitsForASyncThatIsInTheKernel) {
    const Attachment attached = space_.attach(device()).value();
    const Mapping before = map(0, 16);
    map(16, 16).leave();
    const Mapping behind = map(32, 16);
    const DirtyLog log = space_.track_dirty().value();
    device_writes({3, 20, 40});
    std::thread unmapper;
    kernel_.before_read = [&] {
        kernel_.before_read = nullptr;
        unmapper = std::thread([&] { EXPECT_TRUE(space_.unmap(pages(16, 16))); });
        while (space_.mappings().size() == 3 && space_.mappings()[1].state != MappingState::busy)
            std::this_thread::yield();
        // What it must not do now, it would have done by then.
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
    EXPECT_THAT(sync(log), ElementsAre(pages(3), pages(20), pages(40)));
    unmapper.join();
}

TEST_F(SpaceDirtyTest, OrAtOnceAndThenNotBySync) {
    const Attachment attached = space_.attach(device()).value();
    space_.map(memory_, {.iova = kBase, .length = 1_MiB, .granule = 64_KiB}).value().leave();
    Mapping owned = map(512, 16);
    Reader reader = space_.reader();
    const DirtyLog log = space_.track_dirty().value();
    device_writes({3, 20, 515});
    {
        const Guard guard = reader.enter();
        EXPECT_EQ(guard.translate(kBase + 5 * kPage, 8, Access::write).size(), 8U);
    }
    Runs dirty;
    EXPECT_EQ(space_.unmap(pages(0, 16), {.deadline = {}, .dirty = &dirty}).value(), 16 * kPage);
    EXPECT_THAT(dirty, ElementsAre(pages(3), pages(5)));
    EXPECT_TRUE(std::move(owned).unmap({.deadline = {}, .dirty = &dirty}));
    EXPECT_THAT(dirty, ElementsAre(pages(3), pages(5), pages(515)));
    EXPECT_THAT(sync(log), ElementsAre(pages(20)));
}

TEST_F(SpaceDirtyTest, AnUnmapWhoseBitsCannotBeReadCountsAllAsWritten) {
    const Attachment attached = space_.attach(device()).value();
    map(0, 16).leave();
    const DirtyLog log = space_.track_dirty().value();
    kernel_.fail_read[1] = EIO;
    EXPECT_EQ(space_.unmap(pages(0, 16)).value(), 16 * kPage);
    EXPECT_THAT(reports_, SizeIs(1));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16)));
}

TEST_F(SpaceDirtyTest, WhatIsMappedMeanwhileIsTracked) {
    const Attachment attached = space_.attach(device()).value();
    Reader reader = space_.reader();
    const DirtyLog log = space_.track_dirty().value();
    const Mapping mapping = map(0, 16);
    EXPECT_THAT(sync(log), IsEmpty());
    device_writes({3});
    {
        const Guard guard = reader.enter();
        EXPECT_EQ(guard.translate(kBase + 9 * kPage, 8, Access::write).size(), 8U);
    }
    EXPECT_THAT(sync(log), ElementsAre(pages(3), pages(9)));
}

// --- devices' logs ------------------------------------------------------------------------------

TEST_F(SpaceDirtyTest, TheDevicesLogsAreUsedWhereAllHaveOne) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const auto b = std::make_shared<LoggingDevice>(device(1));
    const Attachment one = space_.attach(a).value();
    const Attachment two = space_.attach(b).value();
    map(0, 16).leave();
    map(64, 16).leave();
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::devices);
    EXPECT_THAT(a->log.ranges, ElementsAre(pages(0, 16), pages(64, 16)));
    EXPECT_FALSE(kernel_.is_on());
    a->log.write(kBase + 3 * kPage);
    b->log.write(kBase + 66 * kPage);
    EXPECT_THAT(sync(log), ElementsAre(pages(3), pages(66)));
    a->log.write(kBase + 5 * kPage);
    EXPECT_TRUE(space_.unmap(pages(0, 16)));
    EXPECT_THAT(sync(log), ElementsAre(pages(5)));
    // What no log was told of counts as written.
    map(0, 20).leave();
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 20)));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 20)));
}

TEST_F(SpaceDirtyTest, AStartThatFailsOnTheSecondLogIsRolledBack) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const auto b = std::make_shared<LoggingDevice>(device(1));
    const Attachment one = space_.attach(a).value();
    const Attachment two = space_.attach(b).value();
    const Mapping mapping = map(0, 16);
    b->log.fail_start = E2BIG;
    EXPECT_EQ(space_.track_dirty().error().code(), E2BIG);
    EXPECT_FALSE(a->log.on);
    const DirtyLog log = space_.track_dirty({.from = DirtyFrom::page_tables}).value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    device_writes({3});
    EXPECT_THAT(sync(log), ElementsAre(pages(3)));
}

TEST_F(SpaceDirtyTest, WhereOneDeviceHasNoLogThePageTablesTell) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const Attachment one = space_.attach(a).value();
    const Attachment two = space_.attach(device(1)).value();
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(log.why(), HasSubstr("raw /dev/vfio/devices/vfio1 has no log"));
    EXPECT_FALSE(a->log.on);
}

TEST_F(SpaceDirtyTest, ASourceThatNotAllDevicesHaveIsRefused) {
    const Attachment attached = space_.attach(device(0)).value();
    const auto log = space_.track_dirty({.from = DirtyFrom::devices});
    EXPECT_EQ(log.error().code(), EOPNOTSUPP);
    EXPECT_THAT(log.error().line(), HasSubstr("raw /dev/vfio/devices/vfio0 has no log"));
    EXPECT_EQ(space_.track_dirty({.from = DirtyFrom::everything}).value().from(), DirtyFrom::everything);
}

// --- everything ---------------------------------------------------------------------------------

TEST_F(SpaceDirtyTest, WithADeviceThatHasNeitherEverythingWritableIsTold) {
    const Attachment attached = space_.attach(std::make_shared<FakeSink>("vdpa0")).value();
    map(0, 16).leave();
    map(16, 16, Access::read).leave();
    map(64, 16).leave();
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::everything);
    EXPECT_THAT(log.why(), HasSubstr("vdpa0 has no page table with dirty bits"));
    ASSERT_THAT(reports_, SizeIs(1));
    EXPECT_THAT(reports_[0], HasSubstr("all that is mapped counts as written to"));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16), pages(64, 16)));
    EXPECT_THAT(sync(log, pages(3, 70)), ElementsAre(pages(3, 13), pages(64, 9)));
    EXPECT_TRUE(space_.unmap(pages(0, 16)));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16), pages(64, 16)));
    EXPECT_THAT(sync(log), ElementsAre(pages(64, 16)));
}

TEST_F(SpaceDirtyTest, AnIommuWithoutDirtyBitsMakesEverythingCount) {
    kernel_.devices_with_bits = 1;
    const Attachment one = space_.attach(device(0)).value();
    const Mapping mapping = map(0, 16);
    EXPECT_EQ(space_.track_dirty().value().from(), DirtyFrom::page_tables);
    kernel_.separate_iommus = true;
    const Attachment two = space_.attach(device(1)).value();
    EXPECT_EQ(space_.track_dirty().value().from(), DirtyFrom::everything);
    EXPECT_EQ(space_.track_dirty({.from = DirtyFrom::page_tables}).error().code(), EOPNOTSUPP);
}

// --- devices come and go ------------------------------------------------------------------------

TEST_F(SpaceDirtyTest, ALateDeviceWithAPageTableOfItsOwnIsTrackedBeforeItIsAttached) {
    kernel_.separate_iommus = true;
    const Attachment one = space_.attach(device(0)).value();
    const Mapping mapping = map(0, 16);
    const DirtyLog log = space_.track_dirty().value();
    device_writes({3}, 1);
    std::optional<Attachment> two = space_.attach(device(1)).value();
    EXPECT_EQ(kernel_.on_when_attached(), 1U);
    device_writes({5}, 2);
    EXPECT_THAT(sync(log), ElementsAre(pages(3), pages(5)));
    EXPECT_FALSE(last_.changed);
    // And its last bits are read when it goes.
    device_writes({7}, 2);
    two.reset();
    EXPECT_THAT(sync(log), ElementsAre(pages(7)));
    EXPECT_FALSE(last_.changed);
    EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(SpaceDirtyTest, ALateDeviceWithALogIsLoggedBeforeItIsAttached) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const auto b = std::make_shared<LoggingDevice>(device(1));
    const Attachment one = space_.attach(a).value();
    const Mapping mapping = map(0, 16);
    const DirtyLog log = space_.track_dirty().value();
    std::optional<Attachment> two = space_.attach(b).value();
    EXPECT_TRUE(b->logged_when_attached);
    EXPECT_EQ(log.from(), DirtyFrom::devices);
    b->log.write(kBase + 5 * kPage);
    two.reset();
    EXPECT_FALSE(b->log.on);
    EXPECT_TRUE(a->log.on);
    EXPECT_THAT(sync(log), ElementsAre(pages(5)));
    EXPECT_FALSE(last_.changed);
}

TEST_F(SpaceDirtyTest, ALateDeviceThatHasLessChangesTheSourceAndAllIsToldOnce) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const Attachment one = space_.attach(a).value();
    const Mapping mapping = map(0, 16);
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::devices);

    std::optional<Attachment> two = space_.attach(device(1)).value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_FALSE(a->log.on);
    EXPECT_TRUE(kernel_.is_on());
    ASSERT_THAT(reports_, SizeIs(1));
    EXPECT_THAT(reports_[0],
                HasSubstr("no longer told by the devices' logs, but by the IOMMU's page tables"));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16)));
    EXPECT_TRUE(last_.changed);
    device_writes({3});
    EXPECT_THAT(sync(log), ElementsAre(pages(3)));
    EXPECT_FALSE(last_.changed);

    std::optional<Attachment> three = space_.attach(std::make_shared<FakeSink>("vdpa0")).value();
    EXPECT_EQ(log.from(), DirtyFrom::everything);
    EXPECT_FALSE(kernel_.is_on());
    EXPECT_THAT(reports_, SizeIs(2));
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16)));
    EXPECT_TRUE(last_.changed);

    // Back to what there was, and once more everything.
    three.reset();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16)));
    EXPECT_TRUE(last_.changed);
    device_writes({9});
    EXPECT_THAT(sync(log), ElementsAre(pages(9)));
}

TEST_F(SpaceDirtyTest, TheFirstDeviceMayComeAndTheLastGoMeanwhile) {
    const Mapping mapping = map(0, 16);
    DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::nowhere);
    std::optional<Attachment> attached = space_.attach(device()).value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16)));
    device_writes({3});
    attached.reset();
    EXPECT_EQ(log.from(), DirtyFrom::nowhere);
    EXPECT_THAT(sync(log), ElementsAre(pages(3)));
    EXPECT_THAT(sync(log), IsEmpty());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    EXPECT_TRUE(std::move(log).stop());
    EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(SpaceDirtyTest, ALateDeviceWhosePageTableCannotBeStartedMakesEverythingCount) {
    kernel_.separate_iommus = true;
    const Attachment one = space_.attach(device(0)).value();
    const Mapping mapping = map(0, 16);
    const DirtyLog log = space_.track_dirty().value();
    kernel_.fail_start[2] = EIO;
    const Attachment two = space_.attach(device(1)).value();
    EXPECT_EQ(log.from(), DirtyFrom::everything);
    EXPECT_THAT(sync(log), ElementsAre(pages(0, 16)));
    EXPECT_TRUE(last_.changed);
}

TEST_F(SpaceDirtyTest, AnAttachThatFailsLeavesTheSourceAsItWas) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const Attachment one = space_.attach(a).value();
    const Mapping mapping = map(0, 16);
    const DirtyLog log = space_.track_dirty().value();
    const auto b = std::make_shared<LoggingDevice>(device(1));
    b->fail_attach = EIO;
    EXPECT_EQ(space_.attach(b).error().code(), EIO);
    EXPECT_FALSE(b->log.on);
    EXPECT_EQ(log.from(), DirtyFrom::devices);
    EXPECT_THAT(sync(log), IsEmpty());
    EXPECT_FALSE(last_.changed);
}

}  // namespace
}  // namespace iommufd::dma
