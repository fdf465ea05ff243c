// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <gmock/gmock.h>

#include <thread>

#include "iommufd/vdpa/device.hpp"
#include "support/allocation_faults.hpp"
#include "sys/faulty_kernel.hpp"
#include "vdpa/fake_vhost.hpp"

namespace iommufd::vdpa {
namespace {

using dma::Piece;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

constexpr std::uint64_t kAddress = 0x7f0000000000;

Piece piece(std::uint64_t iova, std::uint64_t length, std::uint64_t address = kAddress) {
    return {.iova = Iova{iova},
            .length = length,
            .address = reinterpret_cast<const std::byte*>(address),
            .shared = true,
            .label = "ram0"};
}

class IotlbSink : public testing::Test {
protected:
    void open(Device::Options options = {}) {
        options.kernel = &kernel_;
        device_.emplace(Device::open("/dev/vhost-vdpa-0", options).value());
        kernel_.messages();
    }
    void open_pinning(Device::Options options = {}) {
        kernel_.uses_addresses = false;
        open(std::move(options));
    }

    dma::Sink& sink() { return *device_->attachable()->sink(); }

    // Whether nothing was written by what was refused.
    void expect_refused(int code, const Piece& refused, const std::string& why) {
        for (const auto& result : {sink().check(refused), sink().map(refused)}) {
            ASSERT_FALSE(result);
            EXPECT_EQ(result.error().code(), code);
            EXPECT_THAT(result.error().line(), HasSubstr(why));
        }
        EXPECT_THAT(kernel_.messages(), IsEmpty());
    }

    FakeVhost kernel_;
    std::optional<Device> device_;
};

TEST_F(IotlbSink, MapsByAddressInOneMessage) {
    open();
    Piece read_only = piece(0x8000, 0x2000);
    read_only.access = Access::read;
    sink().map(piece(0x1000, 0x3000)).value();
    sink().map(read_only).value();
    EXPECT_THAT(kernel_.messages(), ElementsAre("UPDATE 0x1000+0x3000", "UPDATE 0x8000+0x2000 ro"));
}

TEST_F(IotlbSink, PinsInABatchWhoseLastPageReports) {
    open_pinning();
    sink().map(piece(0x10000, 0x10000)).value();
    EXPECT_THAT(kernel_.messages(),
                ElementsAre("BEGIN", "UPDATE 0x10000+0xf000", "END", "UPDATE 0x1f000+0x1000"));
    sink().map(piece(0x1000, 0x1000)).value();
    EXPECT_THAT(kernel_.messages(), ElementsAre("UPDATE 0x1000+0x1000"));
    EXPECT_EQ(sink().unmap({Iova{0x10000}, Iova{0x1ffff}}).value(), 0x10000U);
    EXPECT_THAT(kernel_.messages(), ElementsAre("INVALIDATE 0x10000+0x10000"));
    EXPECT_THAT(kernel_.device_table(), ElementsAre(Pair(0x1000, 0x1000)));
}

TEST_F(IotlbSink, PinsInOneMessageWhereThereAreNoBatches) {
    open_pinning({.decline = bit(BackendFeature::batch)});
    sink().map(piece(0x10000, 0x10000)).value();
    EXPECT_THAT(kernel_.messages(), ElementsAre("UPDATE 0x10000+0x10000"));
}

TEST_F(IotlbSink, UnmapsAllPiecesOfARangeInOneMessage) {
    open();
    for (const std::uint64_t iova : {0x1000U, 0x4000U, 0x9000U}) sink().map(piece(iova, 0x1000)).value();
    kernel_.messages();
    EXPECT_EQ(sink().unmap({Iova{0}, Iova{0x8fff}}).value(), 0x2000U);
    EXPECT_THAT(kernel_.messages(), ElementsAre("INVALIDATE 0x1000+0x4000"));
    EXPECT_THAT(kernel_.device_table(), ElementsAre(Pair(0x9000, 0x1000)));
    EXPECT_EQ(sink().unmap({Iova{0}, Iova{~0ULL}}).value(), 0x1000U);
}

TEST_F(IotlbSink, NeverCutsAPiece) {
    open();
    sink().map(piece(0x1000, 0x3000)).value();
    kernel_.messages();
    const auto error = sink().unmap({Iova{0}, Iova{0x1fff}}).error();
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_THAT(error.line(), HasSubstr("it would cut 0x1000+0x3000"));
    EXPECT_EQ(sink().unmap({Iova{0x4000}, Iova{0x4fff}}).error().code(), ENOENT);
    EXPECT_THAT(kernel_.messages(), IsEmpty());
}

TEST_F(IotlbSink, SaysWhatTheKernelWouldNot) {
    kernel_.iova_range = {.first = 0x1000, .last = 0xffffffff};
    open();
    sink().map(piece(0x10000, 0x10000)).value();
    kernel_.messages();
    expect_refused(EEXIST, piece(0x1f000, 0x2000), "0x10000+0x10000 ('ram0') is mapped there");
    expect_refused(EINVAL, piece(0, 0x1000), "the device takes IOVAs from 0x1000 to 0xffffffff");
    expect_refused(EINVAL, piece(0xfffff000, 0x2000), "the device takes IOVAs from 0x1000 to 0xffffffff");
    expect_refused(EINVAL, piece(0x40000, 0), "wraps around at 2^64");
    expect_refused(EINVAL, piece(~0ULL - 0xfff, 0x2000), "wraps around at 2^64");
    expect_refused(EINVAL, piece(0x40001, 0x1000), "align all three to 4096 bytes");
    expect_refused(EINVAL, piece(0x40000, 0x1001), "align all three to 4096 bytes");
    expect_refused(EINVAL, piece(0x40000, 0x1000, kAddress + 8), "align all three to 4096 bytes");
    Piece hidden = piece(0x40000, 0x1000);
    hidden.shared = false;
    expect_refused(EOPNOTSUPP, hidden, "the memory is private");
    EXPECT_EQ(sink().limits().value().alignment, 4096U);
    EXPECT_THAT(sink().limits().value().ranges, ElementsAre(Range{Iova{0x1000}, Iova{0xffffffff}}));
}

TEST_F(IotlbSink, KnowsHowManyEntriesTheTableHas) {
    kernel_.kernel_entries = 3;
    open();
    for (const std::uint64_t iova : {0x1000U, 0x3000U, 0x5000U}) sink().map(piece(iova, 0x1000)).value();
    kernel_.messages();
    expect_refused(ENOSPC, piece(0x7000, 0x1000), "takes 3 entries");
}

TEST_F(IotlbSink, NamesTheLimitThatWouldBeEnough) {
    kernel_.memlock = "65536";
    kernel_.pinned_elsewhere = 0x4000;
    open_pinning();
    sink().map(piece(0x10000, 0x8000)).value();
    const auto error = sink().check(piece(0x20000, 0x5000)).error();
    EXPECT_EQ(error.code(), ENOMEM);
    EXPECT_THAT(error.line(), AllOf(HasSubstr("RLIMIT_MEMLOCK is 64 KiB; this process has pinned 48 KiB"),
                                    HasSubstr("raise the limit to 69632 bytes")));
    EXPECT_EQ(sink().map(piece(0x20000, 0x5000)).error().line(), error.line());
    EXPECT_THAT(kernel_.device_table(), UnorderedElementsAre(Pair(0x10000, 0x7000), Pair(0x17000, 0x1000)));
    const std::vector<Piece> pieces{piece(0x20000, 0x3000), piece(0x30000, 0x2000)};
    EXPECT_THAT(sink().replay(pieces).error().line(), HasSubstr("raise the limit to 69632 bytes"));
    kernel_.memlock = "69632";
    sink().map(piece(0x20000, 0x5000)).value();
}

TEST_F(IotlbSink, ExplainsMemoryThatTheDeviceCannotHave) {
    open_pinning();
    kernel_.bad_addresses = {kAddress};
    const auto error = sink().map(piece(0x10000, 0x4000)).error();
    EXPECT_EQ(error.code(), EFAULT);
    EXPECT_THAT(error.line(), HasSubstr("a page can't be pinned"));
    EXPECT_THAT(kernel_.device_table(), IsEmpty());
    kernel_.bad_addresses.clear();
    sink().map(piece(0x10000, 0x4000)).value();
}

TEST_F(IotlbSink, TellsAnotherProcessThatItIsNotTheOwner) {
    for (const bool uses_addresses : {true, false}) {
        kernel_.uses_addresses = uses_addresses;
        open();
        kernel_.is_owner = false;
        const auto error = sink().map(piece(0x10000, 0x4000)).error();
        EXPECT_EQ(error.code(), EPERM);
        EXPECT_THAT(error.line(), HasSubstr("not the device's owner"));
        kernel_.is_owner = true;
        device_.reset();
    }
}

TEST_F(IotlbSink, BringsBackWhatAFailureAtIovaZeroTookAway) {
    open();
    sink().map(piece(0x10000, 0x4000)).value();
    sink().map(piece(0x20000, 0x4000)).value();
    kernel_.bad_addresses = {0x1000};
    EXPECT_EQ(sink().map(piece(0, 0x1000, 0x1000)).error().code(), EFAULT);
    EXPECT_THAT(kernel_.device_table(),
                UnorderedElementsAre(Pair(0x10000, 0x4000), Pair(0x20000, 0x3000), Pair(0x23000, 0x1000)));
}

TEST_F(IotlbSink, ReplaysInOneBatch) {
    open();
    const std::vector<Piece> pieces{piece(0x10000, 0x4000), piece(0x20000, 0x4000)};
    sink().replay(pieces).value();
    EXPECT_THAT(kernel_.messages(), ElementsAre("BEGIN", "UPDATE 0x10000+0x4000", "UPDATE 0x20000+0x3000",
                                                "END", "UPDATE 0x23000+0x1000"));
    EXPECT_EQ(kernel_.device_table(), kernel_.kernel_table());
    EXPECT_TRUE(sink().replay({}));
}

TEST_F(IotlbSink, ABatchThatFailsLeavesWhatWasThereBefore) {
    open();
    sink().map(piece(0x1000, 0x1000)).value();
    kernel_.bad_addresses = {0x5000};
    const std::vector<Piece> pieces{piece(0x10000, 0x4000), piece(0x20000, 0x4000, 0x5000),
                                    piece(0x30000, 0x4000)};
    const auto error = sink().replay(pieces).error();
    EXPECT_EQ(error.code(), EFAULT);
    EXPECT_THAT(error.line(), AllOf(HasSubstr("cannot map 3 pieces"), HasSubstr("all of it was invalidated"),
                                    HasSubstr("0x20000+0x4000")));
    EXPECT_THAT(kernel_.device_table(), ElementsAre(Pair(0x1000, 0x1000)));
    EXPECT_EQ(sink().unmap({Iova{0x10000}, Iova{0x3ffff}}).error().code(), ENOENT);
}

TEST_F(IotlbSink, ABatchThatTheDeviceRefusesIsNoSuccess) {
    open();
    kernel_.device_entries = 2;
    const std::vector<Piece> pieces{piece(0x10000, 0x1000), piece(0x20000, 0x1000), piece(0x30000, 0x1000)};
    EXPECT_EQ(sink().replay(pieces).error().code(), EFAULT);
    EXPECT_THAT(kernel_.kernel_table(), IsEmpty());
    EXPECT_THAT(kernel_.device_table(), IsEmpty());
}

TEST_F(IotlbSink, AReplayThatOverlapsChangesNothing) {
    open();
    sink().map(piece(0x20000, 0x1000)).value();
    kernel_.messages();
    const std::vector<Piece> pieces{piece(0x10000, 0x1000), piece(0x20000, 0x1000)};
    EXPECT_EQ(sink().replay(pieces).error().code(), EEXIST);
    EXPECT_THAT(kernel_.messages(), IsEmpty());
    sink().map(piece(0x10000, 0x1000)).value();
}

TEST_F(IotlbSink, AResetWithPersistSendsNothing) {
    open();
    sink().map(piece(0x10000, 0x4000)).value();
    kernel_.messages();
    device_->reset().value();
    EXPECT_THAT(kernel_.messages(), IsEmpty());
    EXPECT_EQ(kernel_.device_table(), kernel_.kernel_table());
}

TEST_F(IotlbSink, AResetWithoutPersistInvalidatesAndReplays) {
    open({.decline = bit(BackendFeature::persist)});
    sink().map(piece(0x10000, 0x4000)).value();
    sink().map(piece(0x20000, 0x1000)).value();
    kernel_.messages();
    device_->set_status(0).value();
    EXPECT_THAT(kernel_.messages(), ElementsAre("INVALIDATE all", "END", "BEGIN", "UPDATE 0x10000+0x4000",
                                                "END", "UPDATE 0x20000+0x1000"));
    EXPECT_THAT(kernel_.device_table(), UnorderedElementsAre(Pair(0x10000, 0x4000), Pair(0x20000, 0x1000)));
}

TEST_F(IotlbSink, AResetWhoseReplayFailsSaysSoAndIsMadeGoodLater) {
    open({.decline = bit(BackendFeature::persist)});
    sink().map(piece(0x10000, 0x4000)).value();
    kernel_.bad_addresses = {kAddress};
    const auto error = device_->reset().error();
    EXPECT_EQ(error.code(), EFAULT);
    EXPECT_THAT(error.line(), AllOf(HasSubstr("the device was reset"),
                                    HasSubstr("the device reaches nothing of what was mapped")));
    EXPECT_THAT(kernel_.device_table(), IsEmpty());
    // The next change tries again first.
    EXPECT_FALSE(sink().map(piece(0x30000, 0x1000, kAddress + 0x10000)));
    EXPECT_THAT(kernel_.device_table(), IsEmpty());
    kernel_.bad_addresses.clear();
    sink().map(piece(0x30000, 0x1000)).value();
    EXPECT_THAT(kernel_.device_table(), UnorderedElementsAre(Pair(0x10000, 0x4000), Pair(0x30000, 0x1000)));
}

TEST_F(IotlbSink, UnmapsWhatItCouldNotBringBack) {
    open({.decline = bit(BackendFeature::persist)});
    sink().map(piece(0x10000, 0x4000)).value();
    kernel_.bad_addresses = {kAddress};
    EXPECT_FALSE(device_->reset());
    EXPECT_EQ(sink().unmap({Iova{0x10000}, Iova{0x13fff}}).value(), 0x4000U);
    sink().map(piece(0x10000, 0x1000, kAddress + 0x1000)).value();
    EXPECT_THAT(kernel_.device_table(), ElementsAre(Pair(0x10000, 0x1000)));
}

TEST_F(IotlbSink, ThreadsTakeTurns) {
    open_pinning({.decline = bit(BackendFeature::persist)});
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < 4; ++thread)
        threads.emplace_back([this, thread] {
            const std::uint64_t base = 0x1000000 * (thread + 1);
            for (std::uint64_t round = 0; round < 50; ++round) {
                const Piece mine = piece(base + round * 0x10000, 0x3000);
                EXPECT_TRUE(sink().map(mine));
                if (round % 10 == thread) {
                    EXPECT_TRUE(device_->reset());
                }
                EXPECT_TRUE(sink().check(piece(base + 0x800000, 0x1000)));
                if (round % 2 == 0) {
                    EXPECT_TRUE(sink().unmap(*Range::of(mine.iova, mine.length)));
                }
            }
        });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(kernel_.device_table(), kernel_.kernel_table());
    EXPECT_EQ(sink().unmap({Iova{0}, Iova{~0ULL}}).value(), 4 * 25 * 0x3000U);
}

// --- faults ---

// A step that failed is done once more, and then must work: what a failure left must not be in its way.
template <class Step>
void insist(Step&& step) {
    auto first = step();
    if (!first) step().value();
}

// The bytes that the device reaches, whatever entries they are in.
std::uint64_t bytes_in(const FakeVhost::Table& table) {
    std::uint64_t bytes = 0;
    for (const auto& [iova, length] : table) bytes += length;
    return bytes;
}

struct Walk {
    bool uses_addresses;
    bool after_effect;
    int error;
};

class IotlbSinkFaults : public testing::TestWithParam<Walk> {};

TEST_P(IotlbSinkFaults, NothingIsLostOrLeftWhicheverCallFails) {
    for (std::uint64_t n = 1;; ++n) {
        FakeVhost inner;
        inner.uses_addresses = GetParam().uses_addresses;
        inner.memlock = "1048576";
        sys::FaultyKernel kernel(
            inner, {.call = n, .error = GetParam().error, .after_effect = GetParam().after_effect});
        {
            std::optional<Device> device;
            insist([&] {
                return Device::open("/dev/vhost-vdpa-0",
                                    {.kernel = &kernel, .decline = bit(BackendFeature::persist)})
                    .transform([&](Device&& opened) { device.emplace(std::move(opened)); });
            });
            dma::Sink& sink = *device->attachable()->sink();
            const auto expect = [&](std::uint64_t bytes) {
                EXPECT_EQ(bytes_in(inner.device_table()), bytes) << "call " << n;
                EXPECT_EQ(inner.device_table(), inner.kernel_table()) << "call " << n;
            };
            const std::vector<Piece> pieces{piece(0x10000, 0x4000), piece(0x20000, 0x4000)};
            insist([&] { return sink.replay(pieces); });
            expect(0x8000);
            insist([&] { return sink.map(piece(0, 0x4000)); });
            expect(0xc000);
            insist([&] { return sink.unmap({Iova{0x10000}, Iova{0x13fff}}); });
            expect(0x8000);
            insist([&] { return device->reset(); });
            expect(0x8000);
            insist([&] { return sink.unmap({Iova{0}, Iova{~0ULL}}); });
            expect(0);
            (void)std::move(*device).destroy();
        }
        EXPECT_EQ(inner.open_files(), 0) << "call " << n;
        if (!kernel.struck()) break;
        ASSERT_LT(n, 500U);
    }
}

INSTANTIATE_TEST_SUITE_P(Each, IotlbSinkFaults,
                         testing::Values(Walk{true, false, EIO}, Walk{true, true, EIO},
                                         Walk{false, false, EIO}, Walk{false, true, EIO},
                                         Walk{true, false, ENOMEM}, Walk{false, false, ENOMEM},
                                         Walk{true, false, EFAULT}, Walk{false, false, EFAULT}));

// Never short of memory itself, as a kernel isn't for its caller's sake.
class CalmVhost final : public FakeVhost {
public:
    ssize_t write(int fd, const void* buffer, std::size_t length) override {
        const AllocationFaults::Armed calm(0);
        return FakeVhost::write(fd, buffer, length);
    }
};

TEST(IotlbSinkMemory, NothingIsLeftWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed here";
    for (std::uint64_t n = 1;; ++n) {
        CalmVhost kernel;
        auto device =
            Device::open("/dev/vhost-vdpa-0", {.kernel = &kernel, .decline = bit(BackendFeature::persist)})
                .value();
        dma::Sink& sink = *device.attachable()->sink();
        sink.map(piece(0x1000, 0x1000)).value();
        const std::vector<Piece> pieces{piece(0x10000, 0x4000), piece(0x20000, 0x4000)};
        bool worked = true;
        const bool struck = [&] {
            AllocationFaults::Armed armed(n);
            worked = sink.replay(pieces) && sink.map(piece(0x8000, 0x4000)) &&
                     sink.unmap({Iova{0x10000}, Iova{0x23fff}}) && device.reset();
            return armed.struck();
        }();
        if (!struck) {
            EXPECT_TRUE(worked);
            break;
        }
        (void)sink.unmap({Iova{0}, Iova{~0ULL}});
        EXPECT_THAT(kernel.device_table(), IsEmpty()) << "allocation " << n;
        sink.replay(pieces).value();
    }
}

TEST(IotlbSinkMemory, ARefusalIsTakenBackWithoutMemoryForItsWords) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed here";
    for (const bool uses_addresses : {true, false}) {
        for (std::uint64_t n = 1;; ++n) {
            CalmVhost kernel;
            kernel.uses_addresses = uses_addresses;
            auto device = Device::open("/dev/vhost-vdpa-0", {.kernel = &kernel}).value();
            dma::Sink& sink = *device.attachable()->sink();
            sink.map(piece(0x1000, 0x1000)).value();
            const std::vector<Piece> pieces{piece(0x10000, 0x4000), piece(0x20000, 0x4000, 0x5000)};
            kernel.bad_addresses = {0x5000};
            const bool struck = [&] {
                AllocationFaults::Armed armed(n);
                EXPECT_FALSE(sink.map(pieces[1]));
                EXPECT_FALSE(sink.replay(pieces));
                return armed.struck();
            }();
            kernel.bad_addresses.clear();
            sink.map(piece(0x8000, 0x1000)).value();
            EXPECT_THAT(kernel.device_table(),
                        UnorderedElementsAre(Pair(0x1000, 0x1000), Pair(0x8000, 0x1000)))
                << "allocation " << n;
            if (!struck) break;
        }
    }
}

}  // namespace
}  // namespace iommufd::vdpa
