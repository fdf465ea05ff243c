// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// IOASes: map, copy, unmap, IOVAs.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <thread>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kGiB = 1ULL << 30;

// Addresses of nothing: an IOAS without a domain does not look at memory.
constexpr std::uint64_t kNowhere = 0x10000000;

TEST(ModelIoas, MapChecksInTheOrderOfLinux) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    const auto map = [&](std::uint32_t flags, std::uint32_t id, std::uint64_t va, std::uint64_t length,
                         std::uint64_t iova) {
        uapi::IoasMap command{.flags = flags, .ioas_id = id, .user_va = va, .length = length, .iova = iova};
        return bench.call(uapi::kIoasMap, command);
    };
    EXPECT_EQ(map(8, 99, 0, kEnd, 0), -EOPNOTSUPP);
    EXPECT_EQ(map(0, 99, 0, kEnd, 0), -EOVERFLOW);
    EXPECT_EQ(map(6, 99, 0, kPage, kEnd), -EOVERFLOW) << "though the IOVA is not looked at";
    EXPECT_EQ(map(0, 99, 0, 0, 0), -EINVAL);
    EXPECT_EQ(map(6, 99, kEnd, kPage, 0), -ENOENT);
    EXPECT_EQ(map(6, ioas, kEnd, kPage, 0), -EOVERFLOW);
    EXPECT_EQ(map(6, ioas, 0, 0, 0), -EINVAL);
    EXPECT_EQ(map(6, ioas, 0, kEnd - 1, 0), -EINVAL);
    EXPECT_EQ(map(6, ioas, 0, 1ULL << 63, 0), -EOVERFLOW) << "automatic";
    EXPECT_EQ(map(7, ioas, 0, 2, kEnd - 1), 0);
    EXPECT_EQ(map(7, ioas, 0, 3, kEnd - 1), -EOVERFLOW);
    EXPECT_EQ(map(7, ioas, 0, 2, kEnd - 2), -EEXIST);
}

TEST(ModelIoas, WithoutADomainNothingIsTouchedPinnedOrCharged) {
    Bench bench(Description{.devices = {}, .memlock = 0});
    const std::uint32_t ioas = bench.ioas();
    EXPECT_EQ(bench.map(ioas, kNowhere, kGiB, 0), 0);
    EXPECT_EQ(bench.map_file(ioas, bench.iommufd, 0, kPage, kGiB), 0) << "any file, too";
    EXPECT_EQ(bench.machine.leaks().pinned, 0U);
    EXPECT_EQ(bench.machine.leaks().mappings, 2U);
}

TEST(ModelIoas, AutomaticIovasAreAlignedLikeTheMemory) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    // One after the other, as tried on Linux.
    EXPECT_EQ(bench.map_anywhere(ioas, 0x7f0000001000, kPage), 0x1000) << "never IOVA 0";
    EXPECT_EQ(bench.map_anywhere(ioas, 0x7f0000001800, kPage), 0x2800);
    EXPECT_EQ(bench.map_anywhere(ioas, 0x7f0000001001, 10), 0x2001);
    EXPECT_EQ(bench.map_anywhere(ioas, 0x200000, 2 * kMiB), 0x200000);
    EXPECT_EQ(bench.map_anywhere(ioas, kGiB, kGiB), 0x400000) << "2 MiB is the largest alignment";
    EXPECT_EQ(bench.map_anywhere(ioas, 0, kPage), 0x4000);
}

TEST(ModelIoas, AutomaticIovasFillTheLowestHole) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    for (std::int64_t iova = 0x1000; iova < 0x5000; iova += 0x1000)
        EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), iova);
    EXPECT_EQ(bench.unmap(ioas, 0x2000, 2 * kPage), 0x2000);
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), 0x2000);
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + 2 * kPage, 2 * kPage), 0x6000);
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), 0x3000);
}

TEST(ModelIoas, AllowedRangesBindAutomaticIovasOnly) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    std::vector<uapi::IovaRange> allowed = {{0x20000, 0x20fff}, {0x10000, 0x10fff}, {0x21000, 0x22fff}};
    uapi::IoasAllowIovas command{
        .ioas_id = ioas, .num_iovas = 3, .allowed_iovas = reinterpret_cast<std::uint64_t>(allowed.data())};
    EXPECT_EQ(bench.call(uapi::kIoasAllowIovas, command), 0);
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), 0x10000);
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, 3 * kPage), 0x20000) << "neighbours are one";
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), -ENOSPC);
    EXPECT_EQ(bench.map(ioas, kNowhere, kPage, 0x90000), 0) << "a fixed one may lie outside";
    allowed[0] = {5, 5};
    EXPECT_EQ(bench.call(uapi::kIoasAllowIovas, command), -EINVAL);
    allowed[0] = {0x10800, 0x20000};
    EXPECT_EQ(bench.call(uapi::kIoasAllowIovas, command), -EINVAL) << "they overlap";
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), -ENOSPC) << "the old list is kept";
    command.num_iovas = 0;
    EXPECT_EQ(bench.call(uapi::kIoasAllowIovas, command), 0);
    EXPECT_EQ(bench.map_anywhere(ioas, kNowhere + kPage, kPage), 0x1000);
}

TEST(ModelIoas, UnmapOfASupersetRemovesAllAreasInsideAndTheSumIsReturned) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    EXPECT_EQ(bench.map(ioas, kNowhere, kPage, 0x1000), 0);
    EXPECT_EQ(bench.map(ioas, kNowhere, 2 * kPage, 0x8000), 0);
    EXPECT_EQ(bench.unmap(ioas, 0, 0x100000), 3 * static_cast<std::int64_t>(kPage));
    EXPECT_EQ(bench.unmap(ioas, 0, 0x100000), -ENOENT);
    EXPECT_EQ(bench.unmap(ioas, 0, kEnd), 0) << "unmap all succeeds on nothing";
    EXPECT_EQ(bench.unmap(ioas, 1, kEnd), -EOVERFLOW);
    EXPECT_EQ(bench.unmap(ioas, 0, 0), -EINVAL);
    EXPECT_EQ(bench.unmap(ioas, kEnd - 1, 3), -EOVERFLOW);
}

TEST(ModelIoas, UnmapThatEndsInsideAnAreaFailsAfterUnmappingTheOnesBefore) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    EXPECT_EQ(bench.map(ioas, kNowhere, kPage, 0x1000), 0);
    EXPECT_EQ(bench.map(ioas, kNowhere, 2 * kPage, 0x2000), 0);
    uapi::IoasUnmap command{.ioas_id = ioas, .iova = 0x1000, .length = 2 * kPage};
    EXPECT_EQ(bench.call(uapi::kIoasUnmap, command), -ENOENT);
    EXPECT_EQ(command.length, 2 * kPage) << "not updated";
    EXPECT_EQ(bench.machine.leaks().mappings, 1U);
    EXPECT_EQ(bench.unmap(ioas, 0x2000, 2 * kPage), 2 * static_cast<std::int64_t>(kPage));
}

TEST(ModelIoas, CopyTakesAnyRangeOfContiguousAreasPieceByPiece) {
    Bench bench;
    const std::uint32_t from = bench.ioas();
    const std::uint32_t to = bench.ioas();
    EXPECT_EQ(bench.map(from, kNowhere, 2 * kPage, 0x1000), 0);
    EXPECT_EQ(bench.map(from, kNowhere, 2 * kPage, 0x3000), 0);
    EXPECT_EQ(bench.copy(from, 0x2000, 2 * kPage, to, 0x100000), 0);
    EXPECT_EQ(bench.unmap(to, 0x100000, kPage), static_cast<std::int64_t>(kPage))
        << "one area for each piece";
    EXPECT_EQ(bench.copy(from, 0x2000, 4 * kPage, to, 0x200000), -ENOENT) << "not covered";
    EXPECT_EQ(bench.copy(from, 0x2000, 0, to, 0x200000), -EINVAL);
    EXPECT_EQ(bench.copy(99, 0x2000, 0, 98, 0x200000), -ENOENT);
    EXPECT_EQ(bench.copy(from, 0x2000, kPage, 98, 0x200000), -ENOENT);
    EXPECT_EQ(bench.copy(from, 0x2000, kPage, to, 0x101000), -EEXIST);
    EXPECT_EQ(bench.copy(from, 0x2001, 1, from, 0x200000), 0) << "into itself, byte by byte";
}

TEST(ModelIoas, CopyForWritingNeedsMemoryThatWasMappedForWriting) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    EXPECT_EQ(bench.map(ioas, kNowhere, kPage, 0x1000, uapi::kMapReadable), 0);
    EXPECT_EQ(bench.copy(ioas, 0x1000, kPage, ioas, 0x2000), -EPERM);
    EXPECT_EQ(bench.copy(ioas, 0x1000, kPage, ioas, 0x2000, uapi::kMapReadable), 0);
    EXPECT_EQ(bench.machine.leaks().mappings, 2U);
}

TEST(ModelIoas, RangesAreCountedWhereThereIsNoRoomForThem) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    uapi::IoasIovaRanges command{.ioas_id = ioas};
    EXPECT_EQ(bench.call(uapi::kIoasIovaRanges, command), -EMSGSIZE);
    EXPECT_EQ(command.num_iovas, 1U);
    EXPECT_EQ(command.out_iova_alignment, 1U);
    EXPECT_GT(bench.attach(bench.cdev, ioas), 0);
    uapi::IovaRange one{};
    command = {.ioas_id = ioas, .num_iovas = 1, .allowed_iovas = reinterpret_cast<std::uint64_t>(&one)};
    EXPECT_EQ(bench.call(uapi::kIoasIovaRanges, command), -EMSGSIZE);
    EXPECT_EQ(command.num_iovas, 2U);
    EXPECT_EQ(one.last, 0xfedfffffU);
    command.reserved = 1;
    EXPECT_EQ(bench.call(uapi::kIoasIovaRanges, command), -EOPNOTSUPP);
}

TEST(ModelIoas, HugePagesCanBeSwitchedOffOnlyWhereNothingIsMappedInADomain) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const Memory memory(kPage);
    std::uint64_t alignment = 0;
    EXPECT_EQ(bench.option(uapi::kOptionGet, uapi::kOptionHugePages, ioas), 1);
    EXPECT_EQ(bench.map(ioas, kNowhere, 10, 0x1001), 0);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionHugePages, ioas, 0), -EADDRINUSE);
    EXPECT_EQ(bench.unmap(ioas, 0, kEnd), 10);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionHugePages, ioas, 0), 0);
    (void)bench.ranges(ioas, &alignment);
    EXPECT_EQ(alignment, kPage);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionHugePages, ioas, 1), 0);
    EXPECT_GT(bench.attach(bench.cdev, ioas), 0);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000), 0);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionHugePages, ioas, 0), -EINVAL);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionHugePages, ioas, 2), -EINVAL);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionHugePages, 99, 0), -ENOENT);
    EXPECT_EQ(bench.option(7, uapi::kOptionHugePages, ioas, 0), -EOPNOTSUPP);
    EXPECT_EQ(bench.option(uapi::kOptionGet, 7, ioas, 0), -EOPNOTSUPP);
}

TEST(ModelIoas, TheCompatibilityIoasIsForgottenWithTheIoas) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    uapi::VfioIoas command{.ioas_id = 0, .op = uapi::kVfioIoasGet};
    EXPECT_EQ(bench.call(uapi::kVfioIoas, command), -ENODEV);
    command = {.ioas_id = 99, .op = uapi::kVfioIoasSet};
    EXPECT_EQ(bench.call(uapi::kVfioIoas, command), -ENOENT);
    command.ioas_id = ioas;
    EXPECT_EQ(bench.call(uapi::kVfioIoas, command), 0);
    command = {.ioas_id = 0, .op = uapi::kVfioIoasGet};
    EXPECT_EQ(bench.call(uapi::kVfioIoas, command), 0);
    EXPECT_EQ(command.ioas_id, ioas);
    EXPECT_EQ(bench.destroy(ioas), 0);
    EXPECT_EQ(bench.call(uapi::kVfioIoas, command), -ENODEV);
    command.op = 9;
    EXPECT_EQ(bench.call(uapi::kVfioIoas, command), -EOPNOTSUPP);
}

TEST(ModelIoas, ChangeProcessTakesFileMapsOnly) {
    Bench bench;
    const std::uint32_t ioas = bench.ioas();
    const HostFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), kPage), 0);
    uapi::IoasChangeProcess command{};
    EXPECT_EQ(bench.call(uapi::kIoasChangeProcess, command), 0);
    EXPECT_EQ(bench.map_file(ioas, file.number(), 0, kPage, 0x1000), 0);
    EXPECT_EQ(bench.call(uapi::kIoasChangeProcess, command), 0);
    EXPECT_EQ(bench.map(ioas, kNowhere, kPage, 0x2000), 0);
    EXPECT_EQ(bench.call(uapi::kIoasChangeProcess, command), -EINVAL);
}

// Large enough that populating it takes a while; the other calls must not wait for that.
TEST(ModelIoas, WhileMemoryIsPopulatedOtherCallsGoOnAndItsOwnRangeIsBusy) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const Memory small(kPage);
    int busy = 0;
    for (int attempt = 0; attempt < 10 && busy == 0; ++attempt) {
        const Memory large(256 * kMiB);
        std::atomic<bool> done = false;
        std::thread mapper([&] {
            EXPECT_EQ(bench.map(ioas, large.address(), large.size(), kGiB), 0);
            done = true;
        });
        while (!done) {
            EXPECT_EQ(bench.map(ioas, small.address(), kPage, 0x1000), 0);
            EXPECT_EQ(bench.ranges(ioas).size(), 2U);
            EXPECT_EQ(bench.unmap(ioas, 0x1000, kPage), static_cast<std::int64_t>(kPage));
            const std::int64_t rc = bench.unmap(ioas, kGiB + kPage, kPage);
            EXPECT_TRUE(rc == -EBUSY || rc == -ENOENT) << rc;
            busy += rc == -EBUSY ? 1 : 0;
        }
        mapper.join();
        EXPECT_EQ(bench.machine.leaks().pinned, large.size());
        EXPECT_EQ(bench.unmap(ioas, kGiB, large.size()), static_cast<std::int64_t>(large.size()));
    }
    EXPECT_GT(busy, 0);
}

}  // namespace
}  // namespace iommufd::model::testing
