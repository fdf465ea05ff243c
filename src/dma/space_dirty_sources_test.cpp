// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Dirty tracking of a Space: which of the devices' logs and of the page tables tell, and what a late device changes.
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

class SpaceDirtySourcesTest : public support::TrackedSpace {};

// --- devices' logs ------------------------------------------------------------------------------

TEST_F(SpaceDirtySourcesTest, TheDevicesLogsAreUsedWhereAllHaveOne) {
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

TEST_F(SpaceDirtySourcesTest, AStartThatFailsOnTheSecondLogIsRolledBack) {
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

TEST_F(SpaceDirtySourcesTest, WhereOneDeviceHasNoLogThePageTablesTell) {
    const auto a = std::make_shared<LoggingDevice>(device(0));
    const Attachment one = space_.attach(a).value();
    const Attachment two = space_.attach(device(1)).value();
    const DirtyLog log = space_.track_dirty().value();
    EXPECT_EQ(log.from(), DirtyFrom::page_tables);
    EXPECT_THAT(log.why(), HasSubstr("raw /dev/vfio/devices/vfio1 has no log"));
    EXPECT_FALSE(a->log.on);
}

TEST_F(SpaceDirtySourcesTest, ASourceThatNotAllDevicesHaveIsRefused) {
    const Attachment attached = space_.attach(device(0)).value();
    const auto log = space_.track_dirty({.from = DirtyFrom::devices});
    EXPECT_EQ(log.error().code(), EOPNOTSUPP);
    EXPECT_THAT(log.error().line(), HasSubstr("raw /dev/vfio/devices/vfio0 has no log"));
    EXPECT_EQ(space_.track_dirty({.from = DirtyFrom::everything}).value().from(), DirtyFrom::everything);
}

// --- everything ---------------------------------------------------------------------------------

TEST_F(SpaceDirtySourcesTest, WithADeviceThatHasNeitherEverythingWritableIsTold) {
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

TEST_F(SpaceDirtySourcesTest, AnIommuWithoutDirtyBitsMakesEverythingCount) {
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

TEST_F(SpaceDirtySourcesTest, ALateDeviceWithAPageTableOfItsOwnIsTrackedBeforeItIsAttached) {
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

TEST_F(SpaceDirtySourcesTest, ALateDeviceWithALogIsLoggedBeforeItIsAttached) {
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

TEST_F(SpaceDirtySourcesTest, ALateDeviceThatHasLessChangesTheSourceAndAllIsToldOnce) {
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

TEST_F(SpaceDirtySourcesTest, TheFirstDeviceMayComeAndTheLastGoMeanwhile) {
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

TEST_F(SpaceDirtySourcesTest, ALateDeviceWhosePageTableCannotBeStartedMakesEverythingCount) {
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

TEST_F(SpaceDirtySourcesTest, AnAttachThatFailsLeavesTheSourceAsItWas) {
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
