// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking of a Space: what was written is told once, whoever wrote it.
#include <atomic>
#include <cerrno>
#include <thread>

#include "support/fake_sink.hpp"
#include "support/tracked_space.hpp"

namespace iommufd::dma {
namespace {

using support::DirtyKernel;
using support::FakeSink;
using support::kBase;
using support::kPage;
using support::LoggingDevice;
using support::pages;
using support::RawDevice;
using support::Runs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SpaceDirtyTest : public support::TrackedSpace {};

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

}  // namespace
}  // namespace iommufd::dma
