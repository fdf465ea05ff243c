// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// VT-d's nested translation: what Linux's driver takes of it.
#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

#include "model/guest_world.hpp"

namespace iommufd::model::testing {
namespace {

using Bits = GuestTables::Bits;

constexpr std::uint64_t kIova = 0x123456000;
constexpr std::uint64_t kPages = GuestBench::kData;

constexpr std::uint64_t ecap_bit(unsigned number) { return 1ULL << number; }

uapi::HwInfoVtd registers_of(EduBench& bench) {
    uapi::HwInfoVtd vtd{};
    uapi::HwInfo info{
        .dev_id = bench.device, .data_len = sizeof vtd, .data_uptr = reinterpret_cast<std::uint64_t>(&vtd)};
    EXPECT_EQ(bench.call(uapi::kGetHwInfo, info), 0);
    EXPECT_EQ(info.data_type, uapi::kHwInfoVtd);
    return vtd;
}

TEST(ModelNested, TheRegistersSayWhatTheIommuHas) {
    GuestBench nests;
    const uapi::HwInfoVtd vtd = registers_of(nests);
    constexpr std::uint64_t kScalable = ecap_bit(43) | ecap_bit(46) | ecap_bit(48);
    EXPECT_EQ(vtd.flags, uapi::kHwInfoVtdErrata772415Spr17) << "Linux says it of each";
    EXPECT_EQ(vtd.ecap_reg, 0xf00f4a | kScalable | ecap_bit(26) | ecap_bit(31) | ecap_bit(47));
    EXPECT_EQ(vtd.cap_reg & 1ULL << 60, 0U) << "four levels";
    EXPECT_NE(vtd.cap_reg & 1ULL << 56, 0U) << "pages of 1 GiB";
    EXPECT_EQ(vtd.cap_reg & 1ULL << 7, 0U) << "no caching mode";

    GuestBench tracks(GuestBench::nesting([](Description& d) {
        d.dirty_tracking = true;
        d.devices[0].page_requests = true;
    }));
    EXPECT_EQ(registers_of(tracks).ecap_reg, vtd.ecap_reg | ecap_bit(45) | ecap_bit(29) | ecap_bit(2));
    std::string ecap;
    ASSERT_EQ(tracks.kernel().read_file("/sys/class/iommu/dmar0/intel-iommu/ecap", ecap), 0);
    EXPECT_EQ(std::stoull(ecap, nullptr, 16), registers_of(tracks).ecap_reg);

    EduBench legacy;
    EXPECT_EQ(registers_of(legacy).ecap_reg, 0xf00f4aU);
    EXPECT_EQ(registers_of(legacy).cap_reg, 0xd2008c222f0686U);
}

TEST(ModelNested, AnIommuThatDoesNotNestMakesNoParent) {
    EduBench bench;
    EXPECT_EQ(bench.hwpt(bench.device, bench.ioas(), uapi::kHwptNestParent), -EOPNOTSUPP);
    const Result<Description> parsed = parse("devices=edu,iommu=virtio,nesting=on");
    ASSERT_FALSE(parsed);
    EXPECT_NE(parsed.error().line().find("only an intel IOMMU nests"), std::string::npos);
    EXPECT_TRUE(parse("devices=edu,nesting=on").value().nesting);
}

TEST(ModelNested, AParentTakesDirtyTrackingWhereTheIommuHasItAndNoFaultQueue) {
    GuestBench bench;
    EXPECT_EQ(bench.hwpt(bench.device, bench.guest, uapi::kHwptNestParent | uapi::kHwptDirtyTracking),
              -EOPNOTSUPP);
    EXPECT_GT(bench.hwpt(bench.device, bench.guest, uapi::kHwptNestParent | uapi::kHwptPasid), 0);
    EXPECT_EQ(bench.hwpt(bench.device, bench.guest, uapi::kHwptNestParent | uapi::kHwptFaultIdValid),
              -EOPNOTSUPP);
    GuestBench tracks(GuestBench::nesting([](Description& d) { d.dirty_tracking = true; }));
    EXPECT_GT(tracks.hwpt(tracks.device, tracks.guest, uapi::kHwptNestParent | uapi::kHwptDirtyTracking), 0);
}

TEST(ModelNested, AParentTakesNoReadOnlyMapping) {
    GuestBench bench;
    const Memory memory(kPage);
    EXPECT_EQ(bench.map(bench.guest, memory.address(), kPage, 0x1000, uapi::kMapReadable), -EINVAL);
    EXPECT_EQ(bench.map(bench.guest, memory.address(), kPage, 0x1000, uapi::kMapWriteable), 0);

    const std::uint32_t other = bench.ioas();
    ASSERT_EQ(bench.map(other, memory.address(), kPage, 0x1000, uapi::kMapReadable), 0);
    EXPECT_EQ(bench.hwpt(bench.device, other, uapi::kHwptNestParent), -EINVAL);
    EXPECT_GT(bench.hwpt(bench.device, other), 0);
}

TEST(ModelNested, ATableThatAsksForNothingIsAFirstStageOneOf47Bits) {
    EduBench bench(GuestBench::nesting());
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    EXPECT_EQ(bench.ranges(ioas).back().last, (1ULL << 47) - 1);
    const Memory memory(kPage);
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000, uapi::kMapWriteable), 0);
    bench.read_memory(0x1000, 8);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U) << "such a table has no bit for reading";

    EduBench old(GuestBench::nesting([](Description& d) { d.kernel = {6, 12}; }));
    const std::uint32_t second = old.ioas();
    ASSERT_GT(old.attach(old.cdev, second), 0);
    EXPECT_EQ(old.ranges(second).back().last, (1ULL << 48) - 1) << "before 6.13 it was a second-stage one";

    GuestBench parent;
    EXPECT_EQ(parent.ranges(parent.guest).back().last, (1ULL << 48) - 1);
}

TEST(ModelNested, ATableIsTakenAsItIsAndCheckedWhenItIsAttached) {
    GuestBench bench;
    uapi::HwptVtdS1 table = bench.table();
    table.reserved = 7;  // nobody looks at it
    const std::int64_t good = bench.nest(table);
    ASSERT_GT(good, 0);
    const auto refused_at_attach = [&](auto change) {
        uapi::HwptVtdS1 wrong = bench.table();
        change(wrong);
        const std::int64_t nested = bench.nest(wrong);
        EXPECT_GT(nested, 0);
        return bench.attach(bench.cdev, static_cast<std::uint32_t>(nested));
    };
    EXPECT_EQ(refused_at_attach([](auto& t) { t.addr_width = 39; }), -EINVAL);
    EXPECT_EQ(refused_at_attach([](auto& t) { t.addr_width = 57; }), -EINVAL) << "CAP.FS5LP isn't there";
    EXPECT_EQ(refused_at_attach([](auto& t) { t.flags = uapi::kVtdS1Eafe; }), -EINVAL) << "nor ECAP.EAFS";
    EXPECT_GT(refused_at_attach([](auto& t) { t.flags = uapi::kVtdS1Sre | uapi::kVtdS1Wpe | 1ULL << 40; }),
              0);
    EXPECT_EQ(bench.attach(bench.cdev, static_cast<std::uint32_t>(good)), good);
}

TEST(ModelNested, WhatIsNoTableOfVtdIsRefused) {
    GuestBench bench;
    uapi::HwptVtdS1 table = bench.table();
    uapi::HwptAlloc command{.dev_id = bench.device,
                            .pt_id = bench.parent,
                            .data_type = uapi::kHwptDataVtdS1,
                            .data_len = sizeof table,
                            .data_uptr = reinterpret_cast<std::uint64_t>(&table)};
    const auto alloc = [&](auto change) {
        uapi::HwptAlloc changed = command;
        change(changed);
        return bench.call(uapi::kHwptAlloc, changed);
    };
    EXPECT_EQ(alloc([](auto& c) { c.data_type = uapi::kHwptDataVtdS1 + 1; }), -EOPNOTSUPP);
    EXPECT_EQ(alloc([](auto& c) { c.data_type = c.data_len = 0; }), -EOPNOTSUPP);
    EXPECT_EQ(alloc([](auto& c) { c.data_len = 0; }), -EINVAL);
    EXPECT_EQ(alloc([](auto& c) { c.data_len -= 4; }), -EINVAL);
    EXPECT_EQ(alloc([](auto& c) { c.data_len += 8; }), -EINVAL);
    EXPECT_EQ(alloc([](auto& c) { c.data_uptr = 8; }), -EFAULT);
    EXPECT_EQ(alloc([](auto& c) { c.flags = uapi::kHwptNestParent; }), -EOPNOTSUPP);
    EXPECT_EQ(alloc([](auto& c) { c.flags = uapi::kHwptDirtyTracking; }), -EOPNOTSUPP);
    EXPECT_EQ(alloc([&](auto& c) { c.pt_id = bench.guest; }), -EOPNOTSUPP) << "an IOAS takes no data";
    const auto plain = static_cast<std::uint32_t>(bench.hwpt(bench.device, bench.guest));
    EXPECT_EQ(alloc([&](auto& c) { c.pt_id = plain; }), -EINVAL) << "no parent";
    EXPECT_EQ(alloc([](auto& c) { c.flags = uapi::kHwptPasid; }), 0);
    uapi::ViommuAlloc viommu{.type = 1, .dev_id = bench.device, .hwpt_id = bench.parent};
    EXPECT_EQ(bench.call(uapi::kViommuAlloc, viommu), -EOPNOTSUPP) << "VT-d has none";
}

TEST(ModelNested, OldKernelsTakeNoTables) {
    GuestBench unknown(GuestBench::nesting([](Description& d) { d.kernel = {6, 7}; }));
    EXPECT_GT(unknown.parent, 0U);
    EXPECT_EQ(unknown.nest(unknown.table()), -E2BIG) << "the struct has no data yet";
    EXPECT_EQ(unknown.invalidate(unknown.parent, 0, 1), -ENOTTY);
    GuestBench old(GuestBench::nesting([](Description& d) { d.kernel = {6, 12}; }));
    EXPECT_GT(old.nest(old.table()), 0);
    EXPECT_EQ(old.nest(old.table(), uapi::kHwptPasid), -EOPNOTSUPP);
    GuestBench oldest(GuestBench::nesting([](Description& d) { d.kernel = {6, 6}; }));
    EXPECT_EQ(registers_of(oldest).flags, 0U) << "the erratum isn't told of";
}

TEST(ModelNested, AParentStaysWhileATableIsOnIt) {
    GuestBench bench;
    const std::uint32_t nested = bench.attach_table();
    ASSERT_NE(nested, 0U);
    EXPECT_EQ(bench.destroy(bench.parent), -EBUSY);
    EXPECT_EQ(bench.destroy(nested), -EBUSY);
    ASSERT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_EQ(bench.destroy(bench.parent), -EBUSY);
    EXPECT_EQ(bench.destroy(nested), 0);
    EXPECT_EQ(bench.destroy(bench.parent), 0);
}

TEST(ModelNested, InvalidationsAreCheckedOneByOneAndThoseBeforeAnErrorAreDone) {
    GuestBench bench;
    bench.tables.map(kIova, kPages);
    const std::uint32_t nested = bench.attach_table();
    using Entry = uapi::HwptVtdS1Invalidate;
    const Entry good{.addr = kIova, .npages = 1, .flags = 0, .reserved = 0};
    const auto refused = [&](const Entry& entry) {
        std::uint32_t done = 0;
        const int rc = bench.invalidate(nested, std::array{good, entry, good}, &done);
        EXPECT_EQ(done, 1U);
        return rc;
    };
    ASSERT_TRUE(bench.writes(kIova, kPages));
    bench.tables.map(kIova, kPages + kPage);
    EXPECT_EQ(refused({.addr = kIova + 8, .npages = 1, .flags = 0, .reserved = 0}), -EINVAL);
    EXPECT_TRUE(bench.writes(kIova, kPages + kPage));
    EXPECT_EQ(refused({.addr = kIova, .npages = ~std::uint64_t{0}, .flags = 0, .reserved = 0}), -EINVAL);
    EXPECT_EQ(refused({.addr = kIova, .npages = 1, .flags = 2, .reserved = 0}), -EOPNOTSUPP);
    EXPECT_EQ(refused({.addr = kIova, .npages = 1, .flags = 0, .reserved = 1}), -EOPNOTSUPP);
    std::uint32_t done = 7;
    EXPECT_EQ(bench.invalidate(nested, std::array{good}, &done, uapi::kInvalidateVtdS1 + 1), -EINVAL);
    EXPECT_EQ(done, 0U);
    EXPECT_EQ(bench.invalidate(bench.parent, kIova, 1), -EINVAL) << "no guest's table";
    EXPECT_EQ(bench.invalidate(nested, std::array{good, good}, &done), 0);
    EXPECT_EQ(done, 2U);
}

TEST(ModelNested, ParentsTellWhatWasWrittenTheGuestsTablesToo) {
    GuestBench bench(GuestBench::nesting([](Description& d) {
                         d.dirty_tracking = true;
                         d.page_sizes = kPage;
                     }),
                     uapi::kHwptDirtyTracking);
    bench.tables.map(kIova, kPages + 2 * kPage);
    ASSERT_NE(bench.attach_table(), 0U);
    uapi::HwptSetDirtyTracking track{.flags = uapi::kDirtyTrackingEnable, .hwpt_id = bench.parent};
    ASSERT_EQ(bench.call(uapi::kHwptSetDirtyTracking, track), 0);
    const auto written = [&](std::uint64_t iova) {
        std::uint64_t bits = 0;
        uapi::HwptGetDirtyBitmap read{.hwpt_id = bench.parent,
                                      .iova = iova,
                                      .length = 64 * kPage,
                                      .page_size = kPage,
                                      .data = reinterpret_cast<std::uint64_t>(&bits)};
        EXPECT_EQ(bench.call(uapi::kHwptGetDirtyBitmap, read), 0);
        return bits;
    };
    (void)written(GuestBench::kGuest);
    EXPECT_EQ(written(GuestBench::kGuest), 0U);
    bench.write_memory(kIova, 8);
    EXPECT_NE(written(kPages), 0U);
    EXPECT_NE(written(GuestBench::kGuest), 0U) << "its accessed bits";
}

TEST(ModelNested, APageRequestCarriesTheDevicesAddressWhicheverStageLacksThePage) {
    GuestBench bench(GuestBench::nesting([](Description& d) { d.devices[0].page_requests = true; }));
    uapi::FaultQueueAlloc queue{};
    ASSERT_EQ(bench.call(uapi::kFaultQueueAlloc, queue), 0);
    const int fd = static_cast<int>(queue.out_fault_fd);
    const std::int64_t nested = bench.nest(bench.table(), uapi::kHwptFaultIdValid, queue.out_fault_id);
    ASSERT_GT(nested, 0);
    ASSERT_EQ(bench.attach(bench.cdev, static_cast<std::uint32_t>(nested)), nested);
    const auto asked = [&] {
        pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
        EXPECT_EQ(::poll(&polled, 1, 2000), 1);
        uapi::HwptPgfault fault{};
        EXPECT_EQ(bench.kernel().read(fd, &fault, sizeof fault), static_cast<ssize_t>(sizeof fault));
        return fault;
    };
    const auto answer = [&](const uapi::HwptPgfault& fault) {
        const uapi::HwptPageResponse response{.cookie = fault.cookie, .code = 0};
        EXPECT_EQ(bench.kernel().write(fd, &response, sizeof response),
                  static_cast<ssize_t>(sizeof response));
    };
    bench.write_memory(kIova, 8);
    const uapi::HwptPgfault first = asked();
    EXPECT_EQ(first.addr, kIova);
    EXPECT_EQ(first.perm, uapi::kFaultPermWrite);
    bench.tables.map(kIova, 0x1000);  // which the parent lacks
    answer(first);
    const uapi::HwptPgfault second = asked();
    EXPECT_EQ(second.addr, kIova);
    EXPECT_EQ(bench.tables.entry(kIova) & Bits::dirty, 0U) << "a request marks nothing";
    const Memory spare(kPage);
    ASSERT_EQ(bench.map(bench.guest, spare.address(), kPage, 0x1000), 0);
    answer(second);
    while ((bench.get<std::uint64_t>(0x98) & 1) != 0) std::this_thread::yield();
    EXPECT_EQ(spare.bytes()[0], GuestBench::kByte);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
    (void)bench.kernel().close(fd);

    GuestBench silent;
    uapi::FaultQueueAlloc other{};
    ASSERT_EQ(silent.call(uapi::kFaultQueueAlloc, other), 0);
    const std::int64_t useless = silent.nest(silent.table(), uapi::kHwptFaultIdValid, other.out_fault_id);
    ASSERT_GT(useless, 0);
    EXPECT_EQ(silent.attach(silent.cdev, static_cast<std::uint32_t>(useless)), -ENODEV) << "it can't ask";
    (void)silent.kernel().close(static_cast<int>(other.out_fault_fd));
}

}  // namespace
}  // namespace iommufd::model::testing
