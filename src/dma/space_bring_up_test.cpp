// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Large mappings: in parts, by several threads; and memory that is pinned once for several spaces. (How long it takes on the
// real kernel: `iommufd bench bringup`.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <random>
#include <set>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/fake_sink.hpp"
#include "support/raw_device.hpp"
#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;
using support::RawDevice;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kPart = 64_KiB;

class SpaceBringUpTest : public ::testing::Test {
protected:
    std::size_t resident(const Memory& memory) {
        std::vector<unsigned char> pages(memory.size() / 4096);
        EXPECT_EQ(::mincore(memory.data(), memory.size(), pages.data()), 0);
        return static_cast<std::size_t>(
            std::ranges::count_if(pages, [](unsigned char page) { return page & 1; }));
    }

    Space space_ = Space::without_iommufd({.id = "dma0"}).value();
    std::shared_ptr<FakeSink> sink_ = std::make_shared<FakeSink>("fast");
    Memory memory_ = Memory::anonymous(1_MiB, {.label = "ram"}).value();
};

TEST_F(SpaceBringUpTest, PartsEndAtMultiplesOfTheirSizeAndMakeOneMapping) {
    const Attachment attached = space_.attach(sink_).value();
    Mapping mapping =
        space_.map(memory_, {.iova = kBase + 0x3000, .length = 0x22000}, {.part = kPart - 1}).value();
    EXPECT_THAT(sink_->pieces(), ElementsAre(Pair(kBase + 0x3000, 0xd000), Pair(kBase + 0x10000, 0x10000),
                                             Pair(kBase + 0x20000, 0x5000)));
    EXPECT_THAT(space_.mappings(), SizeIs(1));
    Reader reader = space_.reader();
    EXPECT_EQ(reader.enter().translate(kBase + 0x3000, 0x22000, Access::write).size(), 0x22000U);
    EXPECT_EQ(space_.unmap(*Range::of(kBase + 0x10000, kPart)).error().code(), EINVAL);
    EXPECT_TRUE(std::move(mapping).unmap());
    EXPECT_THAT(sink_->pieces(), IsEmpty());
}

TEST_F(SpaceBringUpTest, WhateverTheSizesPartsCoverTheMappingWithoutGapOrOverlap) {
    std::mt19937 random(1);
    const auto pages = [&](unsigned most) { return (1 + random() % most) * std::uint64_t{4096}; };
    const Attachment attached = space_.attach(sink_).value();
    for (int round = 0; round < 500; ++round) {
        const Iova iova = kBase + pages(512);
        const std::uint64_t length = pages(256);
        const std::uint64_t granule = random() % 2 == 0 ? 0 : pages(8);
        const Mapping mapping = space_
                                    .map(memory_, {.iova = iova, .length = length, .granule = granule},
                                         {.threads = 1 + static_cast<unsigned>(random() % 3),
                                          .part = pages(64),
                                          .prefault = false})
                                    .value();
        Iova next = iova;
        for (const auto& [first, size] : sink_->pieces()) {
            ASSERT_EQ(first, next);
            if (granule != 0) ASSERT_TRUE(size == granule || first + size == iova + length);
            next = first + size;
        }
        ASSERT_EQ(next, iova + length);
    }
    EXPECT_THAT(sink_->pieces(), IsEmpty());
}

TEST_F(SpaceBringUpTest, SeveralThreadsMapAtOnceAndTheCallerIsToldOfTheProgress) {
    const Attachment attached = space_.attach(sink_).value();
    sys::Mutex mutex;
    std::set<std::thread::id> threads;
    std::atomic<bool> both = false;
    sink_->before_map = [&](const Piece&) {
        {
            const sys::Lock lock(mutex);
            threads.insert(std::this_thread::get_id());
            both = both || threads.size() == 2;
        }
        while (!both) std::this_thread::yield();  // nobody goes on alone
    };
    std::vector<std::uint64_t> told;
    const Mapping mapping = space_
                                .map(memory_, {.iova = kBase},
                                     {.threads = 2,
                                      .part = kPart,
                                      .progress =
                                          [&, caller = std::this_thread::get_id()](auto done, auto total) {
                                              EXPECT_EQ(std::this_thread::get_id(), caller);
                                              EXPECT_EQ(total, 1_MiB);
                                              told.push_back(done);
                                          }})
                                .value();
    EXPECT_EQ(threads.size(), 2U);
    EXPECT_TRUE(std::ranges::is_sorted(told));
    EXPECT_EQ(told.back(), 1_MiB);
    EXPECT_EQ(resident(memory_), 256U);
}

TEST_F(SpaceBringUpTest, AFailureInAnyPartLeavesNothingOnAnySink) {
    const auto other = std::make_shared<FakeSink>("other");
    const Attachment first = space_.attach(sink_).value();
    const Attachment second = space_.attach(other).value();
    for (std::uint64_t at = 0; at < 1_MiB; at += kPart) {
        other->fail_map_at = kBase + at;
        sink_->fail_map_at = at % (2 * kPart) == 0 ? std::optional(kBase + at) : std::nullopt;
        const auto mapped =
            space_.map(memory_, {.iova = kBase}, {.threads = 2, .part = kPart, .prefault = false});
        ASSERT_FALSE(mapped);
        EXPECT_EQ(mapped.error().code(), ENOMEM);
        EXPECT_THAT(sink_->pieces(), IsEmpty());
        EXPECT_THAT(other->pieces(), IsEmpty());
        EXPECT_THAT(space_.mappings(), IsEmpty());
    }
}

TEST_F(SpaceBringUpTest, WhenItIsStoppedItLeavesNothing) {
    const Attachment attached = space_.attach(sink_).value();
    for (const unsigned threads : {1U, 3U}) {
        std::stop_source stop;
        unsigned parts = 0;
        const auto mapped = space_.map(memory_, {.iova = kBase},
                                       {.threads = threads,
                                        .part = kPart,
                                        .progress =
                                            [&](auto, auto) {
                                                if (++parts == 2) stop.request_stop();
                                            },
                                        .stop = stop.get_token()});
        // (Three threads may be done before the caller's second part.)
        if (threads > 1 && mapped) continue;
        ASSERT_FALSE(mapped);
        EXPECT_EQ(mapped.error().code(), ECANCELED);
        EXPECT_THAT(mapped.error().line(), HasSubstr("the caller has stopped it"));
        EXPECT_THAT(sink_->pieces(), IsEmpty());
        EXPECT_THAT(space_.mappings(), IsEmpty());
    }
}

TEST_F(SpaceBringUpTest, APlanGetsItsPagesToo) {
    EXPECT_EQ(resident(memory_), 0U);
    const Mapping mapping = space_.map(memory_, {.length = 512_KiB}, {.part = kPart}).value();
    EXPECT_EQ(mapping.state(), MappingState::planned);
    EXPECT_EQ(resident(memory_), 128U);
}

TEST_F(SpaceBringUpTest, MemoryThatIsNotThereIsAnErrorBeforeAnySinkIsAsked) {
    const Attachment attached = space_.attach(sink_).value();
    ASSERT_EQ(::munmap(memory_.data() + 512_KiB, 64_KiB), 0);
    const Memory borrowed = Memory::borrow(memory_.data(), memory_.size()).value();
    EXPECT_FALSE(space_.map(borrowed, {.iova = kBase}, {.part = 2_MiB}));
    EXPECT_EQ(sink_->calls, 0U);
    EXPECT_THAT(space_.mappings(), IsEmpty());
}

TEST_F(SpaceBringUpTest, ALateDeviceGetsTheSameParts) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}, {.part = 256_KiB}).value();
    const Attachment attached = space_.attach(sink_).value();
    EXPECT_THAT(sink_->pieces(), SizeIs(4));
}

// --- memory that is pinned once -----------------------------------------------------------------

class SpacePinnedByTest : public ::testing::Test {
protected:
    model::Machine machine_{model::parse("devices=edu,edu").value()};
    Backend backend_ = Backend::on(machine_.kernel()).value();
    Space first_ = Space::on(backend_, {.id = "first"}).value();
    Space second_ = Space::on(backend_, {.id = "second"}).value();
    std::optional<Attachment> in_first_ = first_.attach(RawDevice::bind(backend_)).value();
    Attachment in_second_ = second_.attach(RawDevice::bind(backend_, "/dev/vfio/devices/vfio1")).value();
    Memory memory_ = Memory::anonymous(1_MiB, {.label = "ram"}).value();
};

TEST_F(SpacePinnedByTest, MemoryThatOneSpaceHasPinnedIsNotChargedAgainForAnother) {
    std::optional<Mapping> mapping = first_.map(memory_, {.iova = kBase}).value();
    const Mapping part =
        second_
            .map(memory_, {.iova = Iova{0x10000}, .offset = 64_KiB, .length = 128_KiB, .pinned_by = &first_})
            .value();
    EXPECT_EQ(second_.counters().mapped_by_copy, 1U);
    EXPECT_EQ(second_.counters().mapped_by_address, 0U);
    EXPECT_EQ(machine_.leaks().pinned, 1_MiB);
    // Each may go first.
    mapping.reset();
    EXPECT_EQ(part.state(), MappingState::mapped);
    EXPECT_THAT(first_.mappings(), IsEmpty());
}

TEST_F(SpacePinnedByTest, WhereNothingCanBeTakenOverItIsMappedAnew) {
    // Nothing there; other memory; a part only; a plan that has no IOAS.
    const auto maps_anew = [&](std::uint64_t length) {
        const auto before = second_.counters().mapped_by_address;
        const auto mapping = second_.map(memory_, {.length = length, .pinned_by = &first_});
        return mapping && second_.counters().mapped_by_address == before + 1;
    };
    EXPECT_TRUE(maps_anew(1_MiB));
    const Mapping half = first_.map(memory_, {.iova = kBase, .length = 512_KiB}).value();
    EXPECT_TRUE(maps_anew(1_MiB));
    EXPECT_FALSE(maps_anew(512_KiB));
    in_first_.reset();
    EXPECT_TRUE(maps_anew(512_KiB));
    EXPECT_EQ(second_.counters().mapped_by_copy, 1U);
}

TEST_F(SpacePinnedByTest, PartsAndGranulesAreTakenOverToo) {
    const Mapping mapping = first_.map(memory_, {.iova = kBase, .granule = 64_KiB}).value();
    Mapping copy = second_
                       .map(memory_, {.iova = kBase, .granule = 256_KiB, .pinned_by = &first_},
                            {.threads = 2, .part = 512_KiB})
                       .value();
    EXPECT_EQ(second_.counters().mapped_by_copy, 4U);
    EXPECT_EQ(machine_.leaks().pinned, 1_MiB);
    EXPECT_TRUE(std::move(copy).unmap());
}

TEST_F(SpacePinnedByTest, CountersTellBytesPagesAndKernelCalls) {
    const Memory large = Memory::anonymous(16_MiB).value();
    const auto misaligned = reinterpret_cast<std::uintptr_t>(large.data()) % 2_MiB;
    Mapping congruent = first_.map(large, {.iova = kBase + misaligned, .length = 16_MiB}).value();
    Space::Counters counters = first_.counters();
    EXPECT_EQ(counters.mapped, 16_MiB);
    EXPECT_EQ(counters.pinned, 16_MiB);
    EXPECT_EQ(counters.pages_of_1_gib, 0U);
    EXPECT_EQ(counters.pages_of_2_mib, misaligned == 0 ? 8U : 7U);
    EXPECT_EQ(counters.small_pages * 4096 + counters.pages_of_2_mib * 2_MiB, 16_MiB);
    EXPECT_GT(counters.time.count(), 0);
    EXPECT_TRUE(std::move(congruent).unmap());
    counters = first_.counters();
    EXPECT_EQ(counters.mapped + counters.pinned + counters.small_pages, 0U);
    EXPECT_EQ(counters.unmapped, 1U);
    // The same memory where its pages are not congruent.
    const Mapping other = first_.map(large, {.iova = kBase + misaligned + 4096}).value();
    EXPECT_EQ(first_.counters().pages_of_2_mib, 0U);
    EXPECT_EQ(first_.counters().small_pages, 4096U);
}

// The lender's IOAS, asked to unmap while its pins are being taken over.
class AsksMeanwhile final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == uapi::kIoasCopy && meanwhile) meanwhile();
        return FaultyKernel::ioctl(fd, request, argument);
    }
    std::function<void()> meanwhile;
};

TEST(SpacePinnedByRaceTest, WhatIsBeingTakenOverCannotBeUnmapped) {
    model::Machine machine(model::parse("devices=edu,edu").value());
    AsksMeanwhile kernel(machine.kernel());
    const Backend backend = Backend::on(kernel).value();
    const Space first = Space::on(backend).value();
    const Space second = Space::on(backend).value();
    const Attachment in_first = first.attach(RawDevice::bind(backend)).value();
    const Attachment in_second = second.attach(RawDevice::bind(backend, "/dev/vfio/devices/vfio1")).value();
    const Memory memory = Memory::anonymous(64_KiB).value();
    first.map(memory, {.iova = kBase}).value().leave();
    int asked = 0;
    kernel.meanwhile = [&] {
        ++asked;
        const auto unmapped = first.unmap(*Range::of(kBase, 64_KiB));
        ASSERT_FALSE(unmapped);
        EXPECT_EQ(unmapped.error().code(), EBUSY);
        EXPECT_THAT(unmapped.error().line(), HasSubstr("it is being copied into another space"));
    };
    const Mapping copy = second.map(memory, {.pinned_by = &first}).value();
    EXPECT_EQ(asked, 1);
    EXPECT_TRUE(first.unmap(*Range::of(kBase, 64_KiB)));
}

}  // namespace
}  // namespace iommufd::dma
