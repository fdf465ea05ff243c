// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Encodings of the VT-d specification, by tables.
#include "iommufd/viommu/vtd.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "uapi/iommufd.hpp"

namespace iommufd::viommu::vtd {
namespace {

using Kind = Request::Kind;

constexpr std::uint64_t kAll = Invalidation::kAllPages;

// An IOMMU that has everything, or nothing but nesting.
constexpr Hardware kRich{.nests = true, .five_levels = true, .supervisor = true, .extended_access = true};
constexpr Hardware kPoor{.nests = true};

std::uint64_t bits(std::initializer_list<unsigned> numbers) {
    std::uint64_t word = 0;
    for (const unsigned number : numbers) word |= std::uint64_t{1} << number;
    return word;
}

core::HwInfo info_of(core::HwInfoType type, const uapi::HwInfoVtd& registers) {
    core::HwInfo info{.type = type, .length = sizeof registers};
    std::memcpy(info.data.data(), &registers, sizeof registers);
    return info;
}

TEST(VtdHardware, IsReadFromCapAndEcap) {
    const std::uint64_t cap = bits({56, 60}) | 47ULL << 16;
    const std::uint64_t ecap = bits({2, 26, 29, 31, 34, 40, 43, 45, 46, 47}) | 19ULL << 35;
    const auto info = info_of(
        core::HwInfoType::intel_vtd,
        {.flags = uapi::kHwInfoVtdErrata772415Spr17, .reserved = 0, .cap_reg = cap, .ecap_reg = ecap});
    const Hardware found = hardware(info).value();
    EXPECT_TRUE(found.nests && found.five_levels && found.huge_pages && found.supervisor &&
                found.extended_access);
    EXPECT_TRUE(found.page_requests && found.device_tlbs && found.dirty_tracking && found.read_only_erratum);
    EXPECT_EQ(found.pasid_bits, 20U);
    EXPECT_EQ(found.guest_bits, 48U);
    EXPECT_EQ(found.cap, cap);
    EXPECT_EQ(found.ecap, ecap);
}

TEST(VtdHardware, EachBitIsItsOwn) {
    const auto with = [](std::uint64_t cap, std::uint64_t ecap) {
        return hardware(info_of(core::HwInfoType::intel_vtd,
                                {.flags = 0, .reserved = 0, .cap_reg = cap, .ecap_reg = ecap}))
            .value();
    };
    EXPECT_TRUE(with(bits({60}), 0).five_levels);
    EXPECT_TRUE(with(bits({56}), 0).huge_pages);
    EXPECT_TRUE(with(0, bits({31})).supervisor);
    EXPECT_TRUE(with(0, bits({34})).extended_access);
    EXPECT_TRUE(with(0, bits({29})).page_requests);
    EXPECT_TRUE(with(0, bits({2})).device_tlbs);
    EXPECT_TRUE(with(0, bits({45})).dirty_tracking);
    EXPECT_EQ(with(0, 19ULL << 35).pasid_bits, 0U) << "PSS means nothing without PASID";
    for (const unsigned lacking : {26U, 43U, 46U, 47U})
        EXPECT_FALSE(with(0, bits({26, 43, 46, 47}) & ~bits({lacking})).nests) << lacking;
    EXPECT_TRUE(with(0, bits({26, 43, 46, 47})).nests);
}

TEST(VtdHardware, OfAnotherIommuIsRefused) {
    EXPECT_EQ(hardware(info_of(core::HwInfoType::arm_smmuv3, {})).error().code(), EINVAL);
    auto info = info_of(core::HwInfoType::intel_vtd, {});
    info.length = 16;
    EXPECT_EQ(hardware(info).error().cause(), "the information is of type 1 and has 16 bytes");
}

struct EntryCase {
    const char* name;
    PasidEntry entry;
    Translation translation;
    Table table;
};

TEST(VtdPasidEntry, SaysWhatIsToBeInstalled) {
    constexpr std::uint64_t kFirst = 1 | 1ULL << 6;
    const EntryCase cases[] = {
        {"not present", {kFirst & ~1ULL, 0, ~0ULL}, Translation::blocked, {}},
        {"pass-through", {1 | 4ULL << 6}, Translation::bypass, {}},
        {"4 levels",
         {kFirst, 0, 0x123456000},
         Translation::nested,
         {.flags = 0, .address = 0x123456000, .width = 48}},
        {"5 levels",
         {kFirst, 0, 0x123456000 | 1 << 2},
         Translation::nested,
         {.flags = 0, .address = 0x123456000, .width = 57}},
        {"supervisor",
         {kFirst, 0, 0x1000 | 1},
         Translation::nested,
         {.flags = 1, .address = 0x1000, .width = 48}},
        {"extended access",
         {kFirst, 0, 0x1000 | 1 << 7},
         Translation::nested,
         {.flags = 2, .address = 0x1000, .width = 48}},
        {"write protect",
         {kFirst, 0, 0x1000 | 1 << 4},
         Translation::nested,
         {.flags = 4, .address = 0x1000, .width = 48}},
        {"the highest address",
         {kFirst, 0, 0xfffffffffffff000},
         Translation::nested,
         {.flags = 0, .address = 0xfffffffffffff000, .width = 48}},
        {"fields of the second stage",
         {kFirst | 0x7ffff000 | 3 << 2, ~0ULL, 0x1000},
         Translation::nested,
         {.flags = 0, .address = 0x1000, .width = 48}},
    };
    for (const EntryCase& each : cases) {
        const auto decoded = decode(each.entry, kRich);
        ASSERT_TRUE(decoded) << each.name << ": " << decoded.error().text();
        EXPECT_EQ(decoded->translation, each.translation) << each.name;
        EXPECT_EQ(decoded->table, each.table) << each.name;
    }
    EXPECT_EQ(decode(PasidEntry{kFirst, 0xabcd1234, 0x1000}, kRich)->domain, 0x1234);
}

TEST(VtdPasidEntry, WhatTheHardwareWouldFaultOnOrHasNotIsRefusedByName) {
    constexpr std::uint64_t kFirst = 1 | 1ULL << 6;
    const struct {
        PasidEntry entry;
        const Hardware& hardware;
        int code;
        const char* cause;
    } cases[] = {
        {{1}, kRich, EINVAL, "its PGTT is 0, which is reserved"},
        {{1 | 2ULL << 6}, kRich, EOPNOTSUPP, "it has a second-stage table (PGTT 2)"},
        {{1 | 3ULL << 6}, kRich, EOPNOTSUPP, "it has a second-stage table (PGTT 3)"},
        {{1 | 5ULL << 6}, kRich, EINVAL, "its PGTT is 5, which is reserved"},
        {{1 | 7ULL << 6}, kRich, EINVAL, "its PGTT is 7, which is reserved"},
        {{kFirst, 0, 2 << 2}, kRich, EINVAL, "its FSPM is 2, which is reserved"},
        {{kFirst, 0, 3 << 2}, kRich, EINVAL, "its FSPM is 3, which is reserved"},
        {{kFirst, 0, 1 << 1}, kRich, EINVAL, "reserved bits 0x2 of its third word are set"},
        {{kFirst, 0, 0xf60}, kRich, EINVAL, "reserved bits 0xf60 of its third word are set"},
        {{kFirst, 0, 1 << 2}, kPoor, EOPNOTSUPP, "it wants tables of 5 levels, which this IOMMU has not"},
        {{kFirst, 0, 1}, kPoor, EOPNOTSUPP, "it wants supervisor requests, which this IOMMU has not"},
        {{kFirst, 0, 1 << 7},
         kPoor,
         EOPNOTSUPP,
         "it wants extended-accessed flags, which this IOMMU has not"},
    };
    for (const auto& each : cases) {
        const auto refused = decode(each.entry, each.hardware);
        ASSERT_FALSE(refused) << each.cause;
        EXPECT_EQ(refused.error().code(), each.code) << each.cause;
        EXPECT_EQ(refused.error().cause(), each.cause);
    }
}

TEST(VtdDescriptor, SaysWhatIsToBeInvalidatedOrReadAgain) {
    const auto low = [](std::uint64_t type, std::uint64_t granularity, std::uint64_t domain = 0,
                        std::uint64_t pasid = 0) {
        return (type & 15) | (type >> 4) << 9 | granularity << 4 | domain << 16 | pasid << 32;
    };
    const struct {
        const char* name;
        Descriptor descriptor;
        Kind kind;
        std::optional<std::uint16_t> domain;
        std::optional<std::uint32_t> pasid;
        Invalidation invalidation;
    } cases[] = {
        {"all", {low(2, 1, 7)}, Kind::translations, {}, {}, {0, kAll, 0, 0}},
        {"a domain, with drains", {low(2, 2, 7) | 3 << 6}, Kind::translations, 7, {}, {0, kAll, 0, 0}},
        {"a page of a domain",
         {low(2, 3, 7), 0x1234000 | 1 << 6 | 3},
         Kind::translations,
         7,
         {},
         {0, kAll, 0, 0}},
        {"a PASID", {low(6, 2, 7, 0xfffff)}, Kind::translations, 7, 0xfffff, {0, kAll, 0, 0}},
        {"a page", {low(6, 3, 0xffff, 5), 0x1234000}, Kind::translations, 0xffff, 5, {0x1234000, 1, 0, 0}},
        {"leaves", {low(6, 3, 7, 5), 0x1234000 | 1 << 6}, Kind::translations, 7, 5, {0x1234000, 1, 1, 0}},
        {"8 pages around", {low(6, 3, 7, 5), 0x1235000 | 3}, Kind::translations, 7, 5, {0x1230000, 8, 0, 0}},
        {"2^51 pages",
         {low(6, 3, 7, 5), 0xfffffffffffff000 | 51},
         Kind::translations,
         7,
         5,
         {1ULL << 63, 1ULL << 51, 0, 0}},
        {"all pages by mask", {low(6, 3, 7, 5), 0x1000 | 52}, Kind::translations, 7, 5, {0, kAll, 0, 0}},
        {"a domain's entries", {low(7, 0, 7, 5)}, Kind::pasid_entries, 7, {}, {0, kAll, 0, 0}},
        {"one entry", {low(7, 1, 7, 5)}, Kind::pasid_entries, 7, 5, {0, kAll, 0, 0}},
        {"all entries", {low(7, 3, 7, 5)}, Kind::pasid_entries, {}, {}, {0, kAll, 0, 0}},
        {"all contexts", {low(1, 1, 7)}, Kind::contexts, {}, {}, {0, kAll, 0, 0}},
        {"a domain's contexts", {low(1, 2, 7)}, Kind::contexts, 7, {}, {0, kAll, 0, 0}},
        {"a device's context", {low(1, 3, 7)}, Kind::contexts, 7, {}, {0, kAll, 0, 0}},
        {"a device's TLB", {low(3, 0)}, Kind::nothing, {}, {}, {0, kAll, 0, 0}},
        {"a PASID's TLB", {low(8, 0)}, Kind::nothing, {}, {}, {0, kAll, 0, 0}},
        {"interrupts", {low(4, 0)}, Kind::nothing, {}, {}, {0, kAll, 0, 0}},
        {"a page response", {low(9, 0), 1, 2, 3}, Kind::nothing, {}, {}, {0, kAll, 0, 0}},
        {"a wait", {low(5, 2, 7)}, Kind::wait, {}, {}, {0, kAll, 0, 0}},
    };
    for (const auto& each : cases) {
        const auto request = decode(each.descriptor);
        ASSERT_TRUE(request) << each.name << ": " << request.error().text();
        EXPECT_EQ(request->kind, each.kind) << each.name;
        EXPECT_EQ(request->domain, each.domain) << each.name;
        EXPECT_EQ(request->pasid, each.pasid) << each.name;
        EXPECT_EQ(request->invalidation, each.invalidation) << each.name;
        // The kernel refuses others: see intel_nested_cache_invalidate_user().
        EXPECT_EQ(request->invalidation.address % 4096, 0U) << each.name;
    }
}

TEST(VtdDescriptor, WhatTheQueueWouldStopAtIsRefusedByName) {
    const struct {
        Descriptor descriptor;
        const char* cause;
    } cases[] = {
        {{0}, "its type is 0"},
        {{10}, "its type is 10"},
        {{6 | 1 << 9}, "its type is 22"},
        {{2}, "granularity 0 is reserved in type 2"},
        {{6 | 1 << 4}, "granularity 1 is reserved in type 6"},
        {{6}, "granularity 0 is reserved in type 6"},
        {{7 | 2 << 4}, "granularity 2 is reserved in type 7"},
        {{1}, "granularity 0 is reserved in type 1"},
        {{2 | 1 << 4 | 1 << 8}, "reserved bits 0x100 are set"},
        {{2 | 1 << 4 | 1ULL << 32}, "reserved bits 0x100000000 are set"},
        {{2 | 1 << 4, 1 << 7}, "reserved bits 0x80 are set"},
        {{6 | 3 << 4, 1 << 11}, "reserved bits 0x800 are set"},
        {{6 | 3 << 4 | 1ULL << 52}, "reserved bits 0x10000000000000 are set"},
        {{6 | 3 << 4 | 1 << 6}, "reserved bits 0x40 are set"},
        {{6 | 3 << 4, 0, 4}, "reserved bits 0x4 are set"},
        {{6 | 3 << 4, 0, 0, 8}, "reserved bits 0x8 are set"},
        {{6 | 3 << 4, 53}, "its address mask is 53"},
        {{7 | 3 << 4, 1}, "reserved bits 0x1 are set"},
    };
    for (const auto& each : cases) {
        const auto refused = decode(each.descriptor);
        ASSERT_FALSE(refused) << each.cause;
        EXPECT_EQ(refused.error().code(), EINVAL) << each.cause;
        EXPECT_EQ(refused.error().cause(), each.cause);
    }
    EXPECT_EQ(decode(Descriptor{0x36, 53}).error().text(),
              "cannot take the guest's invalidation descriptor 0x36 0x35: EINVAL\n"
              "  its address mask is 53\n"
              "  tell the guest by FSTS.IQE, and stop its queue there");
}

}  // namespace
}  // namespace iommufd::viommu::vtd
