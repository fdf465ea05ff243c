// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a Space can't give back: it is kept, listed, and tried again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/allocation_faults.hpp"
#include "support/fake_sink.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr Iova kBase{0x4000000};

bool is_mapped_here(const void* address) {
    unsigned char residency = 0;
    return ::mincore(const_cast<void*>(address), 4096, &residency) == 0;
}

class NotReleasedTest : public ::testing::Test {
protected:
    // 64 KiB at kBase that the space owns; only it keeps the memory.
    void map() {
        Memory memory = Memory::memfd(64_KiB, {.label = "ram"}).value();
        address_ = memory.data();
        space_.map(memory, {.iova = kBase}).value().leave();
    }
    bool is_alive() const { return is_mapped_here(address_); }

    std::vector<std::string> reports_;
    std::function<void()> on_report_;
    model::Machine machine_;
    Backend backend_ = Backend::open({.id = "iommufd0",
                                      .fd = {},
                                      .report =
                                          [this](const Notice& notice) {
                                              reports_.push_back(notice.error.line());
                                              if (on_report_) on_report_();
                                          },
                                      .kernel = &machine_.kernel()})
                           .value();
    Space space_ = Space::on(backend_, {.id = "dma0"}).value();
    std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>("fake");
    std::optional<Attachment> attached_ = space_.attach(sink_).value();
    const void* address_ = nullptr;
};

TEST_F(NotReleasedTest, ASinkThatCantBeClearedGoesOnTakingUnmapsAndKeepsTheMemory) {
    map();
    sink_->fail_unmap = EIO;
    attached_.reset();
    EXPECT_THAT(reports_, SizeIs(1));
    EXPECT_THAT(space_.devices(), IsEmpty());
    EXPECT_THAT(space_.sinks(), IsEmpty());
    ASSERT_THAT(space_.not_released(), SizeIs(1));
    EXPECT_EQ(space_.not_released()[0].object, "what 'dma0' had mapped in sink of fake");
    EXPECT_EQ(space_.not_released()[0].code, EIO);

    // It takes no new mapping, and those that it has can't go without it.
    space_.map(Memory::memfd(64_KiB).value(), {.iova = kBase + 1_MiB}).value().leave();
    EXPECT_THAT(sink_->pieces(), SizeIs(1));
    EXPECT_EQ(space_.unmap(*Range::of(kBase, 64_KiB)).error().code(), EIO);
    EXPECT_TRUE(is_alive());
    EXPECT_THAT(space_.not_released(), SizeIs(2));
    EXPECT_EQ(space_.attach(sink_).error().code(), EBUSY);
    EXPECT_EQ(Space::on(backend_).value().attach(sink_).error().code(), EBUSY);

    sink_->fail_unmap = 0;
    EXPECT_EQ(space_.retry_releases(), 0U);
    EXPECT_THAT(sink_->pieces(), IsEmpty());
    EXPECT_THAT(space_.not_released(), IsEmpty());
    EXPECT_FALSE(is_alive());
    attached_ = space_.attach(sink_).value();
    EXPECT_THAT(sink_->pieces(), SizeIs(1));
}

TEST_F(NotReleasedTest, ADeviceThatWasClosedHasNothingMore) {
    map();
    sink_->fail_unmap = EIO;
    attached_.reset();
    EXPECT_EQ(space_.retry_releases(), 1U);
    sink_.reset();  // nobody else keeps it: its descriptor would be closed here
    EXPECT_THAT(space_.not_released(), IsEmpty());
    EXPECT_EQ(space_.unmap(*Range::of(kBase, 64_KiB)).value(), 64_KiB);
}

TEST_F(NotReleasedTest, AFailedAttachThatCantBeUndoneIsListedToo) {
    attached_.reset();
    map();
    space_.map(Memory::memfd(64_KiB).value(), {.iova = kBase + 1_MiB}).value().leave();
    sink_->fail_map_at = kBase + 1_MiB;
    sink_->fail_unmap = EIO;
    EXPECT_EQ(space_.attach(sink_).error().code(), ENOMEM);
    EXPECT_THAT(space_.not_released(), SizeIs(1));
    EXPECT_THAT(reports_, SizeIs(1));
    sink_->fail_unmap = 0;
    sink_->fail_map_at.reset();
    EXPECT_TRUE(space_.attach(sink_));
}

TEST_F(NotReleasedTest, MemoryThatIsStuckStaysUntilTheSinkIsCleared) {
    map();
    sink_->fail_unmap = EIO;
    EXPECT_FALSE(space_.unmap(*Range::of(kBase, 64_KiB)));
    sink_->fail_unmap = 0;
    bool there = false;
    sink_->before_unmap = [&](Range) { there = is_alive(); };
    attached_.reset();
    EXPECT_TRUE(there);
    EXPECT_FALSE(is_alive());
    EXPECT_THAT(space_.mappings(), IsEmpty());
}

TEST_F(NotReleasedTest, AMappingThatGoesUnderAGuardIsUnmappedAndItsMemoryGoesLater) {
    Reader reader = space_.reader();
    std::optional<Memory> memory = Memory::memfd(64_KiB).value();
    address_ = memory->data();
    {
        const Guard guard = reader.enter();
        {
            const Mapping mapping = space_.map(*memory, {.iova = kBase}).value();
        }
        memory.reset();
        EXPECT_THAT(sink_->pieces(), IsEmpty());
        EXPECT_TRUE(is_alive());
    }
    space_.retry_releases();
    EXPECT_FALSE(is_alive());
    EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(NotReleasedTest, AMappingIsUnmappedWithoutMemory) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    std::optional<Mapping> mapping = space_.map(Memory::memfd(64_KiB).value(), {.iova = kBase}).value();
    Reader reader = space_.reader();  // for whom memory has to be kept
    for (const std::uint64_t n : {1U, 2U, 3U}) {
        const AllocationFaults::Armed armed(n);
        mapping.reset();
    }
    EXPECT_THAT(sink_->pieces(), IsEmpty());
    EXPECT_THAT(space_.mappings(), IsEmpty());
    EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(NotReleasedTest, ASinkThatUnmapsInPartsIsAskedUntilNothingIsLeft) {
    const Memory memory = Memory::memfd(64_KiB).value();
    space_.map(memory, {.iova = kBase, .granule = 4_KiB}).value().leave();
    EXPECT_THAT(sink_->pieces(), SizeIs(16));
    sink_->most_unmapped = 1;
    EXPECT_EQ(space_.unmap(*Range::of(kBase, 64_KiB)).value(), 64_KiB);
    EXPECT_THAT(sink_->pieces(), IsEmpty());
}

TEST_F(NotReleasedTest, ARefusalAfterPartOfTheGranulesWentIsNotTakenForNothing) {
    const Memory memory = Memory::memfd(64_KiB).value();
    space_.map(memory, {.iova = kBase, .granule = 4_KiB}).value().leave();
    sink_->most_unmapped = 1;
    sink_->before_unmap = [&](Range) {
        if (sink_->pieces().size() == 8) sink_->fail_unmap = EBUSY;
    };
    EXPECT_EQ(space_.unmap(*Range::of(kBase, 64_KiB)).error().code(), EBUSY);
    EXPECT_EQ(space_.mappings().at(0).state, MappingState::stuck);
    sink_->fail_unmap = 0;
    sink_->before_unmap = nullptr;
    EXPECT_EQ(space_.retry_releases(), 0U);
    EXPECT_THAT(space_.mappings(), IsEmpty());
}

TEST_F(NotReleasedTest, AReportMayCallTheSpace) {
    map();
    sink_->fail_unmap = EIO;
    const auto other = std::make_shared<FakeSink>("other");
    std::optional<Attachment> there;
    on_report_ = [&] { there = space_.attach(other).value(); };
    attached_.reset();
    EXPECT_THAT(space_.devices(), ElementsAre("other"));
    EXPECT_THAT(other->pieces(), SizeIs(1));
    sink_->fail_unmap = 0;
}

TEST_F(NotReleasedTest, ReportsAreMadeAndCountedWhetherTheNodeIsOpenOrNot) {
    map();
    sink_->fail_unmap = EIO;
    EXPECT_FALSE(backend_.is_open());
    attached_.reset();
    EXPECT_EQ(reports_.size(), 1U);
    EXPECT_EQ(backend_.notices(), 1U);
    sink_->fail_unmap = 0;
}

}  // namespace
}  // namespace iommufd::dma
