// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/fake_sink.hpp"
#include "support/raw_device.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using support::RawDevice;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr Iova kBase{0x4000000};

// Holds a call to a sink up until the test lets it go on.
class Gate {
public:
    void wait() {
        std::unique_lock lock(mutex_);
        reached_ = true;
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_; });
    }
    void wait_until_reached() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return reached_; });
    }
    void open() {
        const std::lock_guard lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool reached_ = false;
    bool open_ = false;
};

class SpaceThreadsTest : public ::testing::Test {
protected:
    model::Machine machine_;
    Backend backend_ = Backend::on(machine_.kernel()).value();
    Space space_ = Space::on(backend_, {.id = "dma0"}).value();
    Memory memory_ = Memory::memfd(1_MiB, {.label = "ram"}).value();
    std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>("sink");
};

TEST_F(SpaceThreadsTest, WhileOneMapIsInTheKernelOthersQueryTranslateAndMapElsewhere) {
    const Attachment attached = space_.attach(sink_).value();
    const Mapping before = space_.map(memory_, {.iova = kBase + 16_MiB}).value();
    Gate gate;
    sink_->before_map = [&](const Piece& piece) {
        if (piece.iova == kBase) gate.wait();
    };
    std::thread slow([&] { space_.map(memory_, {.iova = kBase}).value().leave(); });
    gate.wait_until_reached();

    EXPECT_EQ(space_.mappings().at(0).state, MappingState::busy);
    EXPECT_FALSE(space_.limits().ranges.empty());
    Reader reader = space_.reader();
    EXPECT_FALSE(reader.enter().translate(kBase + 16_MiB, 1, Access::read).empty());
    EXPECT_TRUE(reader.enter().translate(kBase, 1, Access::read).empty());  // not mapped yet
    {
        const Mapping other = space_.map(memory_, {.iova = kBase + 32_MiB}).value();
    }
    const auto conflict = space_.unmap(*Range::of(kBase, 1_MiB));
    EXPECT_EQ(conflict.error().code(), EBUSY);
    EXPECT_THAT(conflict.error().line(), HasSubstr("it is being mapped"));
    const auto overlap = space_.map(memory_, {.iova = kBase});
    EXPECT_THAT(overlap.error().line(), HasSubstr("being mapped"));
    gate.open();
    slow.join();
}

TEST_F(SpaceThreadsTest, AttachWaitsForMapsInFlightAndLaterMapsAlsoGoToTheNewSink) {
    const Attachment attached = space_.attach(sink_).value();
    Gate gate;
    sink_->before_map = [&](const Piece& piece) {
        if (piece.iova == kBase) gate.wait();
    };
    std::thread slow([&] { space_.map(memory_, {.iova = kBase}).value().leave(); });
    gate.wait_until_reached();

    const auto late = std::make_shared<FakeSink>("late");
    std::optional<Attachment> late_attached;
    std::atomic<bool> done = false;
    std::thread attaching([&] {
        late_attached = space_.attach(late).value();
        done = true;
    });
    while (space_.sinks().size() < 2) std::this_thread::yield();
    space_.map(memory_, {.iova = kBase + 16_MiB}).value().leave();  // begun meanwhile
    EXPECT_FALSE(done);
    gate.open();
    slow.join();
    attaching.join();
    EXPECT_EQ(late->pieces().size(), 2U);
    EXPECT_TRUE(late->pieces().contains(kBase));
    EXPECT_TRUE(late->pieces().contains(kBase + 16_MiB));
}

TEST_F(SpaceThreadsTest, WhatIsBeingReplayedCantBeUnmappedUntilThatEnds) {
    space_.map(memory_, {.iova = kBase}).value().leave();
    Gate gate;
    sink_->before_map = [&](const Piece&) { gate.wait(); };
    std::optional<Attachment> attached;
    std::thread attaching([&] { attached = space_.attach(sink_).value(); });
    gate.wait_until_reached();
    const auto unmapped = space_.unmap(*Range::of(kBase, 1_MiB));
    EXPECT_EQ(unmapped.error().code(), EBUSY);
    EXPECT_THAT(unmapped.error().line(), HasSubstr("for a device that attaches"));
    gate.open();
    attaching.join();
    EXPECT_EQ(space_.unmap(*Range::of(kBase, 1_MiB)).value(), 1_MiB);
}

TEST_F(SpaceThreadsTest, AMappingThatGoesDuringAnAttachIsUnmappedWhenThatEnds) {
    std::optional<Mapping> mapping = space_.map(memory_, {.iova = kBase}).value();
    Gate gate;
    sink_->before_map = [&](const Piece&) { gate.wait(); };
    std::optional<Attachment> attached;
    std::thread attaching([&] { attached = space_.attach(sink_).value(); });
    gate.wait_until_reached();
    std::atomic<bool> gone = false;
    std::thread letting_go([&] {
        mapping.reset();
        gone = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_FALSE(gone);
    EXPECT_EQ(space_.mappings().size(), 1U);
    gate.open();
    attaching.join();
    letting_go.join();
    EXPECT_THAT(space_.mappings(), IsEmpty());
    EXPECT_THAT(sink_->pieces(), IsEmpty());
    EXPECT_EQ(backend_.notices(), 0U);
}

TEST_F(SpaceThreadsTest, AnUnmapDuringADetachReachesTheSinkThatLeavesBeforeTheMemoryIsFreed) {
    std::optional<Attachment> attached = space_.attach(sink_).value();
    space_.map(memory_, {.iova = kBase}).value().leave();
    Gate gate;
    sink_->before_unmap = [&](Range unmapped) {
        if (unmapped.length() == 0) gate.wait();  // the detach, which clears everything
    };
    std::thread detaching([&] { attached.reset(); });
    gate.wait_until_reached();
    EXPECT_EQ(space_.unmap(*Range::of(kBase, 1_MiB)).value(), 1_MiB);
    EXPECT_THAT(sink_->pieces(), IsEmpty());
    gate.open();
    detaching.join();
    EXPECT_THAT(space_.not_released(), IsEmpty());
}

// Threads map, unmap, attach and detach at random. Whatever happens, in the end every sink has exactly what
// the books say, and nothing when all is let go.
TEST_F(SpaceThreadsTest, EverySinkAgreesWithTheBooksAfterARandomRun) {
    const auto second = std::make_shared<FakeSink>("second");
    const Attachment attached = space_.attach(sink_).value();
    std::vector<std::thread> threads;
    for (unsigned seed = 1; seed <= 3; ++seed)
        threads.emplace_back([&, seed] {
            std::mt19937 random(seed);
            for (int i = 0; i < 400; ++i) {
                const Iova iova = kBase + (random() % 16) * 64_KiB;
                if (random() % 2 == 0) {
                    if (auto mapped = space_.map(memory_, {.iova = iova, .length = 64_KiB}))
                        std::move(*mapped).leave();
                } else {
                    (void)space_.unmap(*Range::of(iova, 64_KiB));
                }
            }
        });
    threads.emplace_back([&] {
        for (int i = 0; i < 60; ++i) {
            const auto device = RawDevice::bind(backend_);
            const Attachment vfio = space_.attach(device).value();
            const Attachment vdpa = space_.attach(second).value();
        }
    });
    for (std::thread& thread : threads) thread.join();

    const Attachment vdpa = space_.attach(second).value();
    std::map<Iova, std::uint64_t> books;
    for (const MappingInfo& info : space_.mappings()) books[info.range.first] = info.range.length();
    EXPECT_EQ(sink_->pieces(), books);
    EXPECT_EQ(second->pieces(), books);
    (void)space_.unmap(*Range::of(kBase, 1_MiB));
    EXPECT_THAT(sink_->pieces(), IsEmpty());
    EXPECT_THAT(second->pieces(), IsEmpty());
    EXPECT_FALSE(backend_.is_open());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

}  // namespace
}  // namespace iommufd::dma
