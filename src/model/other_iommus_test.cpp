// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Devices behind an SMMUv3 and behind an AMD IOMMU: what their drivers tell, give and refuse.
#include <gtest/gtest.h>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

Description behind(IommuKind kind, void (*change)(Description&) = [](Description&) {}) {
    Description description;
    description.devices = {{.dma_bits = 64}};
    description.iommu = kind;
    description.iova_ranges = ranges_of(kind);
    description.page_sizes = page_sizes_of(kind);
    change(description);
    return description;
}

void with_dirty_tracking(Description& description) { description.dirty_tracking = true; }

// Its type, or a negative errno.
template <class Registers>
std::int64_t ask(EduBench& bench, Registers& registers, std::uint32_t type = uapi::kHwInfoDefault,
                 std::uint64_t* capabilities = nullptr) {
    uapi::HwInfo info{.flags = type == uapi::kHwInfoDefault ? 0 : uapi::kHwInfoInputType,
                      .dev_id = bench.device,
                      .data_len = sizeof registers,
                      .data_uptr = reinterpret_cast<std::uint64_t>(&registers),
                      .data_type = type};
    const int rc = bench.call(uapi::kGetHwInfo, info);
    if (capabilities != nullptr) *capabilities = info.out_capabilities;
    return rc < 0 ? rc : std::int64_t{info.data_type};
}

std::string file(EduBench& bench, const char* path) {
    std::string text;
    EXPECT_EQ(bench.kernel().read_file(path, text), 0) << path;
    return text;
}

TEST(ModelSmmuv3, TellsOfItsRegistersFrom613On) {
    EduBench bench(behind(IommuKind::smmuv3));
    uapi::HwInfoArmSmmuv3 info{};
    std::uint64_t capabilities = 0;
    EXPECT_EQ(ask(bench, info, uapi::kHwInfoDefault, &capabilities), std::int64_t{uapi::kHwInfoArmSmmuv3});
    EXPECT_EQ(capabilities, uapi::kHwCapAtsNotSupported);
    EXPECT_EQ(info.idr[0] & 3, 2U) << "the first stage only";
    EXPECT_EQ(info.idr[0] >> 6 & 3, 0U) << "no dirty bits";
    EXPECT_EQ(info.idr[5] & 7, 5U) << "48 bits";
    EXPECT_EQ(ask(bench, info, uapi::kHwInfoArmSmmuv3), std::int64_t{uapi::kHwInfoArmSmmuv3});
    EXPECT_EQ(ask(bench, info, uapi::kHwInfoVtd), -EOPNOTSUPP);
    EduBench old(behind(IommuKind::smmuv3, [](Description& d) { d.kernel = {6, 12}; }));
    EXPECT_EQ(ask(old, info), std::int64_t{uapi::kHwInfoNone});
}

TEST(ModelSmmuv3, LeavesOutItsWindowForMessages) {
    EduBench bench(behind(IommuKind::smmuv3));
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const std::vector<IovaRange> ranges = bench.ranges(ioas);
    ASSERT_EQ(ranges.size(), 2U);
    EXPECT_EQ(ranges[0].last, 0x7ffffffU);
    EXPECT_EQ(ranges[1].first, 0x8100000U);
    EXPECT_EQ(ranges[1].last, 0xffffffffffffU);
    EXPECT_EQ(file(bench, "/sys/kernel/iommu_groups/0/reserved_regions"),
              "0x0000000008000000 0x00000000080fffff msi\n");
    const Memory memory(kPage);
    EXPECT_EQ(bench.map(ioas, memory.address(), kPage, 0xfee00000), 0) << "memory like any other there";
    ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000, uapi::kMapWriteable), 0);
    bench.read_memory(0x1000, 8);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U) << "its tables have no bit for reading";
}

TEST(ModelSmmuv3, NestsNothingAndHasNoViommu) {
    EduBench bench(behind(IommuKind::smmuv3, with_dirty_tracking));
    const std::uint32_t ioas = bench.ioas();
    EXPECT_EQ(bench.hwpt(bench.device, ioas, uapi::kHwptNestParent), -EOPNOTSUPP);
    EXPECT_GT(bench.hwpt(bench.device, ioas, uapi::kHwptPasid), 0);
    EXPECT_GT(bench.hwpt(bench.device, ioas, uapi::kHwptPasid | uapi::kHwptDirtyTracking), 0);
    const auto plain = static_cast<std::uint32_t>(bench.hwpt(bench.device, ioas));
    uapi::ViommuAlloc viommu{.type = 1, .dev_id = bench.device, .hwpt_id = plain};
    EXPECT_EQ(bench.call(uapi::kViommuAlloc, viommu), -EOPNOTSUPP);
    EXPECT_FALSE(parse("iommu=smmuv3,nesting=on,devices=edu"));
    EXPECT_FALSE(parse("iommu=smmuv3,devices=edu:page-requests=on"));
}

TEST(ModelSmmuv3, TracksDirtyPagesFrom611On) {
    EduBench none(behind(IommuKind::smmuv3));
    EXPECT_EQ(none.hwpt(none.device, none.ioas(), uapi::kHwptDirtyTracking), -EOPNOTSUPP);
    EduBench old(behind(IommuKind::smmuv3, [](Description& d) {
        d.dirty_tracking = true;
        d.kernel = {6, 10};
    }));
    EXPECT_EQ(old.hwpt(old.device, old.ioas(), uapi::kHwptDirtyTracking), -EOPNOTSUPP);
    EduBench bench(behind(IommuKind::smmuv3, with_dirty_tracking));
    uapi::HwInfoArmSmmuv3 info{};
    std::uint64_t capabilities = 0;
    EXPECT_GT(ask(bench, info, uapi::kHwInfoDefault, &capabilities), 0);
    EXPECT_EQ(capabilities, uapi::kHwCapAtsNotSupported | uapi::kHwCapDirtyTracking);
    EXPECT_EQ(info.idr[0] >> 6 & 3, 2U) << "HTTU";
    EXPECT_EQ(bench.dirty_after_a_write(), 4U);
}

TEST(ModelSmmuv3, ADeviceMayHaveAFaultQueueThatNothingComesTo) {
    for (const IommuKind kind : {IommuKind::smmuv3, IommuKind::amd, IommuKind::intel}) {
        EduBench bench(behind(kind));
        uapi::FaultQueueAlloc queue{};
        ASSERT_EQ(bench.call(uapi::kFaultQueueAlloc, queue), 0);
        uapi::HwptAlloc command{.flags = uapi::kHwptFaultIdValid,
                                .dev_id = bench.device,
                                .pt_id = bench.ioas(),
                                .fault_id = queue.out_fault_id};
        ASSERT_EQ(bench.call(uapi::kHwptAlloc, command), 0);
        const std::int64_t attached = bench.attach(bench.cdev, command.out_hwpt_id);
        if (kind == IommuKind::intel)
            EXPECT_EQ(attached, -ENODEV) << "VT-d's driver looks whether it can ask";
        else
            EXPECT_EQ(attached, std::int64_t{command.out_hwpt_id});
        (void)bench.kernel().close(static_cast<int>(queue.out_fault_fd));
    }
}

TEST(ModelAmd, TellsOfItsFeaturesFrom70On) {
    EduBench bench(behind(IommuKind::amd));
    uapi::HwInfoAmd info{};
    EXPECT_EQ(ask(bench, info), std::int64_t{uapi::kHwInfoAmd});
    EXPECT_EQ(info.efr >> 10 & 3, 2U) << "six levels";
    EXPECT_EQ(info.efr & (1ULL << 4 | 1ULL << 52), 0U) << "no guests' tables, no dirty bits";
    EXPECT_EQ(info.efr2, 0U);
    EXPECT_EQ(ask(bench, info, uapi::kHwInfoVtd), -EOPNOTSUPP);
    EXPECT_EQ(std::stoull(file(bench, "/sys/class/iommu/ivhd0/amd-iommu/features"), nullptr, 16), info.efr);
    EduBench old(behind(IommuKind::amd, [](Description& d) { d.kernel = {6, 12}; }));
    EXPECT_EQ(ask(old, info), std::int64_t{uapi::kHwInfoNone});
}

TEST(ModelAmd, LeavesOutTheInterruptWindowAndWhatHyperTransportHas) {
    EduBench bench(behind(IommuKind::amd));
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const std::vector<IovaRange> ranges = bench.ranges(ioas);
    ASSERT_EQ(ranges.size(), 3U);
    EXPECT_EQ(ranges[0].last, 0xfedfffffU);
    EXPECT_EQ(ranges[1].first, 0xfef00000U);
    EXPECT_EQ(ranges[1].last, 0xfcffffffffU);
    EXPECT_EQ(ranges[2].first, 0x10000000000U);
    EXPECT_EQ(ranges[2].last, ~std::uint64_t{0});
    EXPECT_EQ(file(bench, "/sys/kernel/iommu_groups/0/reserved_regions"),
              "0x00000000fee00000 0x00000000feefffff msi\n0x000000fd00000000 0x000000ffffffffff reserved\n");
}

TEST(ModelAmd, ReachesAllOf64BitsThroughPagesOfAnyPowerOfTwo) {
    EduBench bench(behind(IommuKind::amd, with_dirty_tracking));
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const Memory memory(64 * kPage);
    const std::uint64_t highest = ~std::uint64_t{0} - memory.size() + 1 - kPage;
    ASSERT_EQ(bench.map(ioas, memory.address(), memory.size(), highest), 0);
    memory.fill(0x5a);
    bench.read_memory(highest + 3 * kPage, 64);
    bench.write_memory(highest + 63 * kPage, 32);
    memory.bytes()[63 * kPage] = 0;
    bench.write_memory(highest + 63 * kPage, 32);
    EXPECT_EQ(memory.bytes()[63 * kPage], 0x5a);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
    EXPECT_EQ(bench.unmap(ioas, highest, memory.size()), static_cast<std::int64_t>(memory.size()));
    EXPECT_EQ(bench.dirty_after_a_write() & 4U, 4U);
}

TEST(ModelAmd, TakesDirtyTrackingOnlyAndHasNoParentForAViommu) {
    EduBench bench(behind(IommuKind::amd));
    const std::uint32_t ioas = bench.ioas();
    for (const std::uint32_t flag : {uapi::kHwptNestParent, uapi::kHwptPasid, uapi::kHwptDirtyTracking})
        EXPECT_EQ(bench.hwpt(bench.device, ioas, flag), -EOPNOTSUPP) << flag;
    const auto plain = static_cast<std::uint32_t>(bench.hwpt(bench.device, ioas));
    uapi::ViommuAlloc viommu{.type = 1, .dev_id = bench.device, .hwpt_id = plain};
    EXPECT_EQ(bench.call(uapi::kViommuAlloc, viommu), -EINVAL)
        << "the driver knows viommus, and this is no parent";
    viommu.hwpt_id = ioas;
    EXPECT_EQ(bench.call(uapi::kViommuAlloc, viommu), -ENOENT);
    EduBench old(behind(IommuKind::amd, [](Description& d) { d.kernel = {6, 15}; }));
    uapi::ViommuAlloc unknown{.type = 1, .dev_id = old.device, .hwpt_id = 1};
    EXPECT_EQ(old.call(uapi::kViommuAlloc, unknown), -EOPNOTSUPP);
    EXPECT_FALSE(parse("iommu=amd,nesting=on,devices=edu"));
}

TEST(ModelAmd, IsDescribedByItsName) {
    const Description amd = parse("devices=edu,iommu=amd").value();
    EXPECT_EQ(amd.iommu, IommuKind::amd);
    EXPECT_EQ(amd.iova_ranges.size(), 3U);
    EXPECT_EQ(amd.page_sizes & 1ULL << 13, 1ULL << 13);
    EXPECT_EQ(amd.page_sizes & 1ULL << 39, 0U) << "512G is broken";
    EXPECT_EQ(parse("devices=edu,iommu=smmuv3").value().iova_ranges[1].first, 0x8100000U);
}

TEST(ModelVirtioIommu, TellsNothingWhateverItIsAsked) {
    EduBench bench(behind(IommuKind::virtio, [](Description& d) { d.unsafe_interrupts = true; }));
    uapi::HwInfoVtd info{};
    EXPECT_EQ(ask(bench, info, uapi::kHwInfoVtd), std::int64_t{uapi::kHwInfoNone});
}

}  // namespace
}  // namespace iommufd::model::testing
