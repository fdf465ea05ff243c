// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/dma/space.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

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

Range range(Iova first, std::uint64_t length) { return *Range::of(first, length); }

class SpaceTest : public ::testing::Test {
protected:
    model::Machine machine_;
    Backend backend_ = Backend::on(machine_.kernel()).value();
    Space space_ = Space::on(backend_, {.id = "dma0"}).value();
    Memory memory_ = Memory::memfd(1_MiB, {.label = "ram"}).value();
};

// --- a plan -------------------------------------------------------------------------------------

TEST_F(SpaceTest, IsAPlanUntilADeviceAttachesAndOpensNoNode) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    EXPECT_EQ(mapping.state(), MappingState::planned);
    EXPECT_FALSE(backend_.is_open());
    EXPECT_THAT(backend_.references(), ElementsAre("dma-space 'dma0'"));
}

TEST_F(SpaceTest, ReplaysThePlanWhenItsFirstDeviceAttachesAndIntoANewContextForALaterOne) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    for (int round = 0; round < 2; ++round) {
        const auto device = RawDevice::bind(backend_);
        const Attachment attached = space_.attach(device).value();
        EXPECT_EQ(mapping.state(), MappingState::mapped);
        EXPECT_EQ(machine_.leaks().mappings, 1U);
        EXPECT_GE(machine_.leaks().pinned, 1_MiB);
        EXPECT_EQ(space_.ioas()->value, 2U);  // after the device's own id
    }
    EXPECT_EQ(mapping.state(), MappingState::planned);
    EXPECT_FALSE(backend_.is_open());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

TEST_F(SpaceTest, ScopesMayEndInAnyOrder) {
    auto device = RawDevice::bind(backend_);
    auto attached = std::make_unique<Attachment>(space_.attach(device).value());
    auto mapping = std::make_unique<Mapping>(space_.map(memory_, {.iova = kBase}).value());
    device.reset();
    {
        const Space gone = std::move(space_);
    }
    EXPECT_EQ(mapping->state(), MappingState::mapped);
    attached.reset();
    mapping.reset();
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    space_ = Space::on(backend_).value();
}

// An IOMMU whose driver can't make a page table before it attaches it: virtio-iommu in Linux 6.12.
class UnfinishedTables final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;

    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == uapi::kIoasIovaRanges && tables_ > 0) {
            auto& command = *static_cast<uapi::IoasIovaRanges*>(argument);
            command.num_iovas = 1;
            *reinterpret_cast<uapi::IovaRange*>(command.allowed_iovas) = {.start = 0, .last = 0};
            return 0;
        }
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (result == 0 && request == uapi::kHwptAlloc) ++tables_;
        if (result == 0 && request == uapi::kDestroy && tables_ > 0) --tables_;
        return result;
    }

private:
    int tables_ = 0;
};

TEST_F(SpaceTest, LeavesThePageTableToTheKernelWhereADriverFinishesItOnlyAsItAttaches) {
    UnfinishedTables kernel(machine_.kernel());
    {
        const Backend backend = Backend::on(kernel).value();
        const Space space = Space::on(backend).value();
        const Mapping mapping = space.map(memory_, {.iova = kBase}).value();
        const Attachment attached = space.attach(RawDevice::bind(backend)).value();
        EXPECT_EQ(mapping.state(), MappingState::mapped);
    }
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

// --- map ----------------------------------------------------------------------------------------

TEST_F(SpaceTest, RefusesOverlapAndNamesWhatIsThere) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    const auto overlap = space_.map(memory_, {.iova = kBase + 0xff000, .length = 0x2000});
    ASSERT_FALSE(overlap);
    EXPECT_EQ(overlap.error().code(), EEXIST);
    EXPECT_THAT(overlap.error().line(), HasSubstr("it overlaps 0x4000000+0x100000 ('ram')"));
    // By its first page, its last, one in the middle, and from both ends.
    const Memory larger = Memory::memfd(4_MiB).value();
    for (const auto& [iova, length] : {std::pair(kBase - 0x1000, 8_KiB), std::pair(kBase, 4_KiB),
                                       std::pair(kBase + 0x80000, 4_KiB), std::pair(kBase - 1_MiB, 4_MiB)})
        EXPECT_EQ(space_.map(larger, {.iova = iova, .length = length}).error().code(), EEXIST);
    EXPECT_THAT(space_.mappings(), SizeIs(1));
    EXPECT_TRUE(space_.map(larger, {.iova = kBase - 0x1000, .length = 4_KiB}));
    EXPECT_TRUE(space_.map(larger, {.iova = kBase + 1_MiB, .length = 4_KiB}));
}

TEST_F(SpaceTest, WhatMayBeMappedIsThatOfTheDevicesWhichAreThereNow) {
    const auto full = space_.limits().ranges;
    const auto narrow = RawDevice::bind(backend_, "/dev/vfio/devices/vfio0", 28);
    std::optional<Attachment> attached = space_.attach(narrow).value();
    EXPECT_EQ(space_.limits().ranges.back().last, Iova{0xfffffff});
    EXPECT_EQ(space_.map(memory_, {.iova = Iova{0x10000000}}).error().code(), EINVAL);
    attached.reset();
    EXPECT_EQ(space_.limits().ranges, full);
    EXPECT_TRUE(space_.map(memory_, {.iova = Iova{0x10000000}}));
}

TEST_F(SpaceTest, RefusesBadRangesBeforeAnythingHappens) {
    EXPECT_EQ(space_.map(memory_, {.iova = Iova{~0ULL - 0xfff}, .length = 0x2000}).error().code(), EOVERFLOW);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase + 1}).error().code(), EINVAL);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase, .length = 100}).error().code(), EINVAL);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase, .offset = 0x10}).error().code(), EINVAL);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase, .offset = 2_MiB}).error().code(), EINVAL);
    EXPECT_EQ(space_.map(memory_, {.iova = kBase, .length = 2_MiB}).error().code(), EINVAL);
    EXPECT_THAT(space_.mappings(), IsEmpty());
}

TEST_F(SpaceTest, RefusesWhatADeviceCantReachAndNamesTheDevice) {
    const auto device = RawDevice::bind(backend_, "/dev/vfio/devices/vfio0", 28);
    const Attachment attached = space_.attach(device).value();
    const auto wide = space_.map(memory_, {.iova = Iova{0x10000000}});
    ASSERT_FALSE(wide);
    EXPECT_EQ(wide.error().code(), EINVAL);
    EXPECT_THAT(wide.error().line(), HasSubstr("raw /dev/vfio/devices/vfio0 reaches 0x0-0xfffffff only"));
}

TEST_F(SpaceTest, RefusesTheInterruptWindowThatTheKernelReserves) {
    const Attachment attached = space_.attach(RawDevice::bind(backend_)).value();
    EXPECT_EQ(space_.map(memory_, {.iova = Iova{0xfee00000}}).error().code(), EINVAL);
}

TEST_F(SpaceTest, ChoosesAnIovaThatEveryDeviceReachesAndNeverZero) {
    const Attachment attached =
        space_.attach(RawDevice::bind(backend_, "/dev/vfio/devices/vfio0", 28)).value();
    const Mapping first = space_.map(memory_).value();
    const Mapping second = space_.map(memory_).value();
    EXPECT_NE(first.iova(), Iova{0});
    EXPECT_FALSE(first.range().overlaps(second.range()));
    EXPECT_LT(second.range().last, Iova{0x10000000});
}

TEST_F(SpaceTest, SaysWhenThereIsNoRoom) {
    FakeSink* const tiny =
        new FakeSink("tiny", {.ranges = {{Iova{0x1000}, Iova{0x1fff}}}, .alignment = 4096});
    const Attachment attached = space_.attach(std::shared_ptr<Attachable>(tiny)).value();
    EXPECT_EQ(space_.map(memory_).error().code(), ENOSPC);
    const Mapping fits = space_.map(memory_, {.length = 0x1000}).value();
    EXPECT_EQ(fits.iova(), Iova{0x1000});
}

TEST_F(SpaceTest, MapsASharedMemfdByFileAndPrivateMemoryByAddress) {
    const Attachment attached = space_.attach(RawDevice::bind(backend_)).value();
    const Mapping by_file = space_.map(memory_).value();
    const Mapping by_address = space_.map(Memory::anonymous(64_KiB).value()).value();
    EXPECT_EQ(space_.counters().mapped_by_file, 1U);
    EXPECT_EQ(space_.counters().mapped_by_address, 1U);
}

class NoMapFile final : public sys::FaultyKernel {
public:
    NoMapFile(sys::Kernel& inner, int error) : FaultyKernel(inner), error_(error) {}

    int ioctl(int fd, unsigned long request, void* argument) override {
        return request == uapi::kIoasMapFile ? ++asked, -error_ : FaultyKernel::ioctl(fd, request, argument);
    }
    int asked = 0;

private:
    const int error_;
};

TEST_F(SpaceTest, FallsBackToTheAddressWhereAFileIsRefused) {
    // ENOTTY: the kernel has no such command, and isn't asked again. The others speak of this file.
    for (const auto& [error, asked] :
         {std::pair(ENOTTY, 1), std::pair(EINVAL, 2), std::pair(EOPNOTSUPP, 2)}) {
        NoMapFile kernel(machine_.kernel(), error);
        const Backend backend = Backend::on(kernel).value();
        const Space space = Space::on(backend).value();
        const Attachment attached = space.attach(RawDevice::bind(backend)).value();
        const Mapping first = space.map(memory_).value();
        const Mapping second = space.map(memory_).value();
        EXPECT_EQ(space.counters().mapped_by_address, 2U);
        EXPECT_EQ(kernel.asked, asked) << errno_name(error);
    }
    NoMapFile kernel(machine_.kernel(), ENOMEM);  // no refusal of the file
    const Backend backend = Backend::on(kernel).value();
    const Space space = Space::on(backend).value();
    const Attachment attached = space.attach(RawDevice::bind(backend)).value();
    EXPECT_EQ(space.map(memory_).error().code(), ENOMEM);
}

TEST_F(SpaceTest, RefusesDeviceWritesToReadOnlyMemory) {
    const Memory read_only = Memory::fd(memory_.fd(), 4096, {.label = "rom", .read_only = true}).value();
    EXPECT_EQ(space_.map(read_only).error().code(), EACCES);
    EXPECT_TRUE(space_.map(read_only, {.access = Access::read}));
}

// --- unmap --------------------------------------------------------------------------------------

TEST_F(SpaceTest, TellsNothingThereFromWouldSplit) {
    space_.map(memory_, {.iova = kBase}).value().leave();
    const auto nothing = space_.unmap(range(kBase + 16_MiB, 4096));
    const auto split = space_.unmap(range(kBase, 4096));
    EXPECT_EQ(nothing.error().code(), ENOENT);
    EXPECT_THAT(nothing.error().line(), HasSubstr("nothing is mapped there"));
    EXPECT_EQ(split.error().code(), EINVAL);
    EXPECT_THAT(split.error().line(), HasSubstr("it would split the mapping 0x4000000+0x100000 ('ram')"));
}

TEST_F(SpaceTest, UnmapOfOneMappingAndHalfOfAnotherTouchesNeither) {
    const Attachment attached = space_.attach(RawDevice::bind(backend_)).value();
    space_.map(memory_, {.iova = kBase}).value().leave();
    space_.map(memory_, {.iova = kBase + 1_MiB}).value().leave();
    EXPECT_EQ(space_.unmap(range(kBase, 1_MiB + 4096)).error().code(), EINVAL);
    EXPECT_EQ(machine_.leaks().mappings, 2U);
    EXPECT_EQ(space_.unmap(range(kBase, 4_MiB)).value(), 2_MiB);
    EXPECT_EQ(machine_.leaks().mappings, 0U);
}

TEST_F(SpaceTest, RefusesToUnmapWhatALiveMappingOwnsByRange) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    const auto unmapped = space_.unmap(mapping.range());
    EXPECT_EQ(unmapped.error().code(), EBUSY);
    EXPECT_THAT(unmapped.error().line(), HasSubstr("a live Mapping owns it"));
}

TEST_F(SpaceTest, AGranuleAllowsUnmapAndMapAgainOfItsMultiples) {
    const Attachment attached = space_.attach(RawDevice::bind(backend_)).value();
    space_.map(memory_, {.iova = kBase, .granule = 64_KiB}).value().leave();
    EXPECT_EQ(machine_.leaks().mappings, 16U);
    EXPECT_EQ(space_.unmap(range(kBase + 128_KiB, 256_KiB)).value(), 256_KiB);
    EXPECT_THAT(space_.mappings(), SizeIs(2));
    EXPECT_EQ(space_.unmap(range(kBase, 4096)).error().code(), EINVAL);
    space_.map(memory_, {.iova = kBase + 128_KiB, .offset = 128_KiB, .length = 256_KiB}).value().leave();
    EXPECT_EQ(space_.unmap(range(kBase, 1_MiB)).value(), 1_MiB);
}

TEST_F(SpaceTest, MemoryStaysUntilItsMappingIsGone) {
    std::weak_ptr<const Memory::Node> node = memory_.node();
    std::optional<Mapping> mapping = space_.map(memory_).value();
    memory_ = Memory::memfd(4096).value();
    EXPECT_FALSE(node.expired());
    mapping.reset();
    EXPECT_TRUE(node.expired());
}

// --- many sinks ---------------------------------------------------------------------------------

TEST_F(SpaceTest, MapsIntoEverySinkVdpaFirst) {
    std::vector<std::string> order;
    const auto vdpa = std::make_shared<FakeSink>("vdpa");
    vdpa->before_map = [&](const Piece&) {
        order.push_back(machine_.leaks().mappings == 0 ? "vdpa first" : "vdpa after the ioas");
    };
    const Attachment vfio_attached = space_.attach(RawDevice::bind(backend_)).value();
    const Attachment vdpa_attached = space_.attach(vdpa).value();
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    EXPECT_THAT(order, ElementsAre("vdpa first"));
    EXPECT_THAT(vdpa->pieces(), ElementsAre(Pair(kBase, 1_MiB)));
    EXPECT_THAT(space_.sinks(), ElementsAre("sink of vdpa", "ioas 2 ('dma0') of 'iommufd0'"));
}

TEST_F(SpaceTest, AFailureInOneSinkIsUndoneInAll) {
    const auto good = std::make_shared<FakeSink>("good");
    const auto bad = std::make_shared<FakeSink>("bad");
    bad->fail_map_at = kBase + 512_KiB;
    const Attachment bad_attached = space_.attach(bad).value();
    const Attachment good_attached = space_.attach(good).value();  // the newest is mapped first
    const auto mapped = space_.map(memory_, {.iova = kBase, .granule = 64_KiB});
    ASSERT_FALSE(mapped);
    EXPECT_EQ(mapped.error().code(), ENOMEM);
    EXPECT_THAT(good->pieces(), IsEmpty());
    EXPECT_THAT(bad->pieces(), IsEmpty());
    EXPECT_THAT(space_.mappings(), IsEmpty());
}

TEST_F(SpaceTest, WhatCantBeUndoneStaysReservedAndListedAndCanBeUnmappedAgain) {
    const auto good = std::make_shared<FakeSink>("good");
    const auto bad = std::make_shared<FakeSink>("bad");
    bad->fail_map_at = kBase;
    const Attachment bad_attached = space_.attach(bad).value();
    const Attachment good_attached = space_.attach(good).value();
    good->fail_unmap = EIO;
    const auto mapped = space_.map(memory_, {.iova = kBase});
    ASSERT_FALSE(mapped);
    EXPECT_THAT(mapped.error().line(), HasSubstr("could not be taken back from sink of good"));
    ASSERT_THAT(space_.not_released(), SizeIs(1));
    EXPECT_EQ(space_.map(memory_, {.iova = kBase}).error().code(), EEXIST);
    good->fail_unmap = 0;
    EXPECT_EQ(space_.unmap(range(kBase, 1_MiB)).value(), 1_MiB);
    EXPECT_THAT(good->pieces(), IsEmpty());
}

TEST_F(SpaceTest, AMappingWhoseUnmapFailsIsReportedAndListed) {
    const auto sink = std::make_shared<FakeSink>("sink");
    const Attachment attached = space_.attach(sink).value();
    sink->fail_unmap = EIO;
    {
        const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    }
    ASSERT_THAT(space_.not_released(), SizeIs(1));
    sink->fail_unmap = 0;
    EXPECT_EQ(space_.unmap(range(kBase, 1_MiB)).value(), 1_MiB);
    EXPECT_THAT(space_.not_released(), IsEmpty());
}

TEST_F(SpaceTest, ARefusalToUnmapLeavesTheMappingAsItWas) {
    const auto sink = std::make_shared<FakeSink>("sink");
    const Attachment attached = space_.attach(sink).value();
    Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    sink->fail_unmap = EBUSY;
    EXPECT_EQ(std::move(mapping).unmap().error().code(), EBUSY);
    const MappingState then =
        mapping.state();  // NOLINT(bugprone-use-after-move): it stays when the call fails
    EXPECT_EQ(then, MappingState::mapped);
    sink->fail_unmap = 0;
    EXPECT_TRUE(std::move(mapping).unmap());
}

// --- devices that attach late -------------------------------------------------------------------

TEST_F(SpaceTest, ALateSinkThatTakesLargerPagesRefusesWhatIsNotAlignedToThemInAllItsPieces) {
    const Limits large{.ranges = {{Iova{0}, Iova{~0ULL}}}, .alignment = 64_KiB};
    const auto sink = std::make_shared<FakeSink>("large", large);
    alignas(64_KiB) static std::byte bytes[256_KiB];
    const Memory memory = Memory::borrow(bytes, sizeof bytes).value();
    for (const auto& [granule, offset] : {std::pair(4_KiB, 0_KiB), std::pair(64_KiB, 4_KiB)}) {
        space_.map(memory, {.iova = kBase, .offset = offset, .length = 128_KiB, .granule = granule})
            .value()
            .leave();
        EXPECT_THAT(space_.attach(sink).error().line(), HasSubstr("takes multiples of 64 KiB only"));
        EXPECT_EQ(space_.unmap(range(kBase, 128_KiB)).value(), 128_KiB);
    }
    space_.map(memory, {.iova = kBase, .granule = 128_KiB}).value().leave();
    EXPECT_TRUE(space_.attach(sink));
}

TEST_F(SpaceTest, ManySmallPiecesAreReplayedInBatches) {
    const auto sink = std::make_shared<FakeSink>("sink");
    const Memory memory = Memory::memfd(256_MiB).value();
    space_.map(memory, {.iova = kBase, .granule = 4_KiB}).value().leave();
    space_.map(memory_, {.iova = kBase + 256_MiB, .granule = 64_KiB}).value().leave();
    const Attachment attached = space_.attach(sink).value();
    EXPECT_EQ(sink->calls, 65536U + 16U);
    EXPECT_THAT(sink->pieces(), SizeIs(65536U + 16U));
}
TEST_F(SpaceTest, ALateDeviceThatCantReachWhatIsMappedIsRefusedBeforeAnythingChanges) {
    const Mapping high = space_.map(memory_, {.iova = Iova{0x100000000}}).value();
    const auto narrow = RawDevice::bind(backend_, "/dev/vfio/devices/vfio0", 28);
    const auto attached = space_.attach(narrow);
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code(), EINVAL);
    EXPECT_THAT(attached.error().line(), HasSubstr("reaches 0x0-0xfffffff only"));
    EXPECT_THAT(space_.devices(), IsEmpty());
    EXPECT_THAT(space_.sinks(), IsEmpty());
    EXPECT_EQ(machine_.leaks().mappings, 0U);
    EXPECT_EQ(machine_.leaks().objects, 1U);  // the device
}

TEST_F(SpaceTest, ALateSinkGetsWhatIsMapped) {
    const Mapping a = space_.map(memory_, {.iova = kBase}).value();
    const Mapping b = space_.map(memory_, {.iova = kBase + 1_MiB, .length = 64_KiB}).value();
    const auto sink = std::make_shared<FakeSink>("late");
    {
        const Attachment attached = space_.attach(sink).value();
        EXPECT_THAT(sink->pieces(), ElementsAre(Pair(kBase, 1_MiB), Pair(kBase + 1_MiB, 64_KiB)));
    }
    EXPECT_THAT(sink->pieces(), IsEmpty());
    EXPECT_EQ(a.state(), MappingState::planned);
}

TEST_F(SpaceTest, AReplayThatFailsChangesNothing) {
    const Mapping a = space_.map(memory_, {.iova = kBase}).value();
    const Mapping b = space_.map(memory_, {.iova = kBase + 1_MiB}).value();
    const auto sink = std::make_shared<FakeSink>("late");
    sink->fail_map_at = kBase + 1_MiB;
    EXPECT_EQ(space_.attach(sink).error().code(), ENOMEM);
    EXPECT_THAT(sink->pieces(), IsEmpty());
    EXPECT_THAT(space_.devices(), IsEmpty());
    EXPECT_EQ(a.state(), MappingState::planned);
}

TEST_F(SpaceTest, TheSameDeviceTwiceIsRefused) {
    const auto device = RawDevice::bind(backend_);
    const Attachment attached = space_.attach(device).value();
    EXPECT_EQ(space_.attach(device).error().code(), EBUSY);
}

TEST_F(SpaceTest, ADeviceIsInOneSpaceAtATime) {
    const Space other = Space::on(backend_, {.id = "dma1"}).value();
    const auto device = RawDevice::bind(backend_);
    {
        const Attachment attached = space_.attach(device).value();
        const auto twice = other.attach(device);
        EXPECT_EQ(twice.error().code(), EBUSY);
        EXPECT_THAT(twice.error().line(), HasSubstr("attached to another space"));
    }
    EXPECT_TRUE(other.attach(device));
}

TEST_F(SpaceTest, AHandleThatWasGivenBackDoesNothingMore) {
    Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    ASSERT_TRUE(std::move(mapping).unmap());
    EXPECT_TRUE(std::move(mapping).unmap());  // NOLINT(bugprone-use-after-move)
    std::move(mapping).leave();               // NOLINT(bugprone-use-after-move)
}

TEST_F(SpaceTest, ADeviceOfAnotherIommufdIsRefused) {
    const Backend other =
        Backend::open({.id = "other", .fd = {}, .report = {}, .kernel = &machine_.kernel()}).value();
    const auto attached = space_.attach(RawDevice::bind(other));
    EXPECT_EQ(attached.error().code(), EXDEV);
    EXPECT_THAT(attached.error().line(), HasSubstr("another iommufd than 'iommufd0'"));
}

TEST_F(SpaceTest, ASpaceWithoutIommufdTakesVdpaOnly) {
    const Space space = Space::without_iommufd({.id = "plain"}).value();
    const auto sink = std::make_shared<FakeSink>("vdpa");
    const Attachment attached = space.attach(sink).value();
    const Mapping mapping = space.map(memory_).value();
    EXPECT_EQ(mapping.state(), MappingState::mapped);
    EXPECT_EQ(space.attach(RawDevice::bind(backend_)).error().code(), EXDEV);
}

TEST_F(SpaceTest, TheSpaceBlocksDeletionOfTheBackendAndIsNamed) {
    const auto deleted = std::move(backend_).destroy();
    EXPECT_EQ(deleted.error().code(), EBUSY);
    EXPECT_THAT(deleted.error().line(), HasSubstr("dma-space 'dma0'"));
}

// --- translation --------------------------------------------------------------------------------

TEST_F(SpaceTest, TranslatesBothWays) {
    const Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    const Mapping twice = space_.map(memory_, {.iova = kBase + 4_MiB, .access = Access::read}).value();
    Reader reader = space_.reader();
    const Guard guard = reader.enter();
    const auto bytes = guard.translate(kBase + 0x123, 16, Access::write);
    EXPECT_EQ(bytes.data(), memory_.data() + 0x123);
    EXPECT_EQ(bytes.size(), 16U);
    EXPECT_TRUE(guard.translate(kBase + 4_MiB, 16, Access::write).empty());
    EXPECT_EQ(guard.translate(kBase + 1_MiB - 8, 16, Access::read).size(), 8U);
    EXPECT_TRUE(guard.translate(kBase - 1, 1, Access::read).empty());
    EXPECT_TRUE(guard.translate(kBase + 1_MiB, 1, Access::read).empty());
    std::vector<Iova> iovas;
    guard.reverse(memory_.data() + 0x200, 8, iovas);
    EXPECT_THAT(iovas, ElementsAre(kBase + 0x200, kBase + 4_MiB + 0x200));
    iovas.clear();
    guard.reverse(memory_.data() - 1, 1, iovas);
    guard.reverse(memory_.data() + memory_.size(), 1, iovas);
    guard.reverse(memory_.data() + memory_.size() - 1, 2, iovas);
    EXPECT_THAT(iovas, IsEmpty());
}

TEST_F(SpaceTest, AThreadThatHoldsAGuardCantUnmap) {
    Mapping mapping = space_.map(memory_, {.iova = kBase}).value();
    Reader reader = space_.reader("queue 3");
    {
        const Guard guard = reader.enter();
        const auto unmapped = std::move(mapping).unmap();
        EXPECT_EQ(unmapped.error().code(), EDEADLK);
        EXPECT_THAT(unmapped.error().line(), HasSubstr("reader 'queue 3'"));
    }
    EXPECT_TRUE(std::move(mapping).unmap());  // NOLINT(bugprone-use-after-move): it stays when the call fails
}

TEST_F(SpaceTest, BackendErrorsDoNotLeaveADeviceBehind) {
    EXPECT_FALSE(RawDevice::bind_or_error(backend_, "/dev/vfio/devices/vfio77", 64));
    EXPECT_THAT(backend_.users(), IsEmpty());
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

}  // namespace
}  // namespace iommufd::dma
