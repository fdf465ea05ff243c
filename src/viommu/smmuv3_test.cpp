// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Encodings of the SMMUv3 specification, by tables; and the rules of Linux 7.3's arm-smmu-v3-iommufd.c.
#include "iommufd/viommu/smmuv3.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "uapi/iommufd.hpp"

namespace iommufd::viommu::smmuv3 {
namespace {

using Kind = Request::Kind;

constexpr Hardware kRich{.asid_bits = 16,
                         .stream_bits = 16,
                         .substream_bits = 20,
                         .range_invalidation = true,
                         .long_addresses = true,
                         .ats = true};
constexpr Hardware kPoor{.asid_bits = 8, .stream_bits = 16};

constexpr std::uint64_t at(std::uint64_t value, unsigned low) { return value << low; }

core::HwInfo info_of(core::HwInfoType type, const uapi::HwInfoArmSmmuv3& registers) {
    core::HwInfo info{.type = type, .length = sizeof registers};
    std::memcpy(info.data.data(), &registers, sizeof registers);
    return info;
}

TEST(Smmuv3Hardware, IsReadFromTheFieldsThatTheKernelNames) {
    uapi::HwInfoArmSmmuv3 registers{};
    for (std::uint32_t& idr : registers.idr) idr = ~0U;
    registers.flags = uapi::kHwInfoArmSmmuv3ErrataRepeatTlbiCfgi;
    registers.idr[1] = 20U << 6 | 32U;
    Hardware found = hardware(info_of(core::HwInfoType::arm_smmuv3, registers)).value();
    EXPECT_EQ(found.asid_bits, 16U);
    EXPECT_EQ(found.stream_bits, 32U);
    EXPECT_EQ(found.substream_bits, 20U);
    EXPECT_EQ(found.bbml, 3U);
    EXPECT_TRUE(found.range_invalidation && found.long_addresses && found.pages_4k && found.pages_16k &&
                found.pages_64k);
    EXPECT_TRUE(found.ats && found.twice && found.nests);
    EXPECT_EQ(found.idr, (std::array<std::uint32_t, 6>{0x1f68100c, 0x520, 0, 0x1c00, 0, 0xcf0}));

    auto info = info_of(core::HwInfoType::arm_smmuv3, {});
    found = hardware(info).value();
    EXPECT_EQ(found.asid_bits, 8U);
    EXPECT_FALSE(found.range_invalidation || found.long_addresses || found.ats || found.twice || found.nests);
    for (const std::uint32_t one_stage : {1U, 2U}) {
        uapi::HwInfoArmSmmuv3 alone{};
        alone.idr[0] = one_stage;
        EXPECT_FALSE(hardware(info_of(core::HwInfoType::arm_smmuv3, alone))->nests);
    }
    registers.flags = 0;
    info = info_of(core::HwInfoType::arm_smmuv3, registers);
    info.ats_not_supported = true;
    EXPECT_FALSE(hardware(info)->ats) << "it is the device's to say";
    EXPECT_EQ(hardware(info_of(core::HwInfoType::intel_vtd, registers)).error().code(), EINVAL);
    info.length = 8;
    EXPECT_EQ(hardware(info).error().cause(), "the information is of type 2 and has 8 bytes");
}

TEST(Smmuv3StreamTableEntry, IsCutToWhatTheKernelTakes) {
    constexpr std::uint64_t kAllowed0 = 1 | at(7, 1) | at(3, 4) | 0x000fffffffffffc0 | at(31, 59);
    constexpr std::uint64_t kAllowed1 = 0xff | at(1, 27) | at(3, 28);
    const struct {
        const char* name;
        StreamTableEntry entry;
        Translation translation;
        std::uint64_t ste[2];
    } cases[] = {
        {"not valid", {~1ULL, ~0ULL}, Translation::blocked, {0, 0}},
        {"abort", {1}, Translation::blocked, {1, 0}},
        {"bypass", {1 | at(4, 1)}, Translation::bypass, {9, 0}},
        {"stage 1", {1 | at(5, 1) | 0x1234000, 0}, Translation::nested, {0x123400b, 0}},
        {"all that is taken",
         {(kAllowed0 & ~at(7, 1)) | at(5, 1), (kAllowed1 & ~at(3, 28)) | at(1, 28)},
         Translation::nested,
         {(kAllowed0 & ~at(7, 1)) | at(5, 1), (kAllowed1 & ~at(3, 28)) | at(1, 28)}},
        {"and all that is not",
         {1 | at(5, 1) | ~kAllowed0, ~kAllowed1 & ~at(3, 30), ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL},
         Translation::nested,
         {0xb, 0}},
        {"what Linux writes",
         {0x000000012345602b, at(2, 0) | at(1, 2) | at(1, 4) | at(3, 6) | at(1, 44)},
         Translation::nested,
         {0x000000012345602b, 0xd6}},
        {"another level without a table", {1 | at(4, 1), at(2, 30)}, Translation::bypass, {9, 0}},
    };
    for (const auto& each : cases) {
        const auto decoded = decode(each.entry);
        ASSERT_TRUE(decoded) << each.name << ": " << decoded.error().text();
        EXPECT_EQ(decoded->translation, each.translation) << each.name;
        EXPECT_EQ(decoded->table.ste[0], each.ste[0]) << each.name;
        EXPECT_EQ(decoded->table.ste[1], each.ste[1]) << each.name;
    }
}

TEST(Smmuv3StreamTableEntry, WhatTheKernelRefusesIsRefusedByName) {
    const struct {
        StreamTableEntry entry;
        int code;
        const char* cause;
    } cases[] = {
        {{1 | at(1, 1)}, EINVAL, "its Config is 1, which is reserved"},
        {{1 | at(3, 1)}, EINVAL, "its Config is 3, which is reserved"},
        {{1 | at(6, 1)}, EOPNOTSUPP, "it has a stage 2 (Config 6)"},
        {{1 | at(7, 1)}, EOPNOTSUPP, "it has a stage 2 (Config 7)"},
        {{1 | at(5, 1), at(2, 28)}, EINVAL, "its EATS is 2, and the kernel takes 0 and 1"},
        {{1 | at(4, 1), at(3, 28)}, EINVAL, "its EATS is 3, and the kernel takes 0 and 1"},
        {{1 | at(5, 1), at(2, 30)},
         EOPNOTSUPP,
         "its tables are of another exception level than EL1 (STRW 2)"},
    };
    for (const auto& each : cases) {
        const auto refused = decode(each.entry);
        ASSERT_FALSE(refused) << each.cause;
        EXPECT_EQ(refused.error().code(), each.code) << each.cause;
        EXPECT_EQ(refused.error().cause(), each.cause);
    }
}

// What each opcode may have beside itself: on hardware that has everything, and on the poorest.
TEST(Smmuv3Command, PassesOnExactlyTheBitsThatTheHardwareHas) {
    constexpr std::uint64_t kVmid = at(0xffff, 32);
    constexpr std::uint64_t kStream = at(0xffffffff, 32);
    constexpr std::uint64_t kPage = ~0xfffULL;
    constexpr std::uint64_t kRange = at(0x1f, 12) | at(0x3f, 20);
    const struct {
        std::uint8_t opcode;
        CommandWords rich;
        CommandWords poor;
    } cases[] = {
        {0x30, {0, 0}, {0, 0}},
        {0x10, {kVmid, 0}, {kVmid, 0}},
        {0x11, {kVmid | at(0xffff, 48), 0}, {kVmid | at(0xff, 48), 0}},
        {0x12, {kVmid | at(0xffff, 48) | kRange, kPage | 0xf00 | 1}, {kVmid | at(0xff, 48), kPage | 1}},
        {0x13, {kVmid | kRange, kPage | 0xf00 | 1}, {kVmid, kPage | 1}},
        {0x05, {kStream | at(0xfffff, 12), 1}, {kStream, 1}},
        {0x06, {kStream, 0}, {kStream, 0}},
        {0x40, {kStream | at(0xfffff, 12) | at(1, 11) | at(1, 9), kPage | 0x3f}, {}},
    };
    for (const auto& each : cases)
        for (const bool rich : {true, false}) {
            const Hardware& hardware = rich ? kRich : kPoor;
            if (each.opcode == 0x40 && !rich) continue;
            const CommandWords& may = rich ? each.rich : each.poor;
            for (unsigned word = 0; word < 2; ++word)
                for (unsigned number = word == 0 ? 8 : 0; number < 64; ++number) {
                    CommandWords words{each.opcode, 0};
                    words[word] |= at(1, number);
                    // A field of a range alone is refused for another reason.
                    const bool of_range = (each.opcode == 0x12 || each.opcode == 0x13) &&
                                          ((word == 0 && (kRange & words[0]) != 0) ||
                                           (word == 1 && number >= 8 && number < 12));
                    if (of_range && rich) continue;
                    const auto request = decode(words, hardware);
                    const bool taken = (may[word] >> number & 1) != 0;
                    ASSERT_EQ(static_cast<bool>(request), taken)
                        << "opcode " << unsigned{each.opcode} << " word " << word << " bit " << number
                        << " rich " << rich;
                    if (!taken) {
                        EXPECT_EQ(request.error().code(), EINVAL);
                        continue;
                    }
                    EXPECT_EQ(request->kind, Kind::forward);
                    EXPECT_EQ(request->command.cmd[0], words[0]);
                    EXPECT_EQ(request->command.cmd[1], words[1]);
                }
        }
}

TEST(Smmuv3Command, RangesOfPagesFollowTheRulesOfTheSpecification) {
    const struct {
        std::uint64_t number, scale, granule, level;
        bool rich, short_addresses;  // whether it is taken, and without IDR5.DS
    } cases[] = {
        {0, 0, 0, 0, true, true},    // no range
        {1, 0, 0, 0, false, false},  // NUM without TG
        {0, 1, 0, 0, false, false},  // SCALE without TG
        {0, 0, 0, 1, false, false},  // TTL without TG
        {0, 0, 1, 0, false, false},  // the reserved combination
        {1, 0, 1, 0, true, true},    //
        {31, 31, 3, 3, true, true},  //
        {0, 0, 1, 3, true, true},    //
        {1, 32, 1, 0, true, false},  // the sixth bit of SCALE
        {1, 0, 2, 1, true, false},   // 16 KiB pages at level 1
        {1, 0, 2, 2, true, true},    //
    };
    Hardware short_addresses = kRich;
    short_addresses.long_addresses = false;
    for (const auto& each : cases)
        for (const std::uint64_t opcode : {0x12U, 0x13U}) {
            const CommandWords words{opcode | at(each.number, 12) | at(each.scale, 20),
                                     at(each.level, 8) | at(each.granule, 10) | 0x1000};
            const testing::ScopedTrace trace(__FILE__, __LINE__,
                                             std::to_string(each.number) + " " + std::to_string(each.scale) +
                                                 " " + std::to_string(each.granule) + " " +
                                                 std::to_string(each.level));
            EXPECT_EQ(static_cast<bool>(decode(words, kRich)), each.rich);
            EXPECT_EQ(static_cast<bool>(decode(words, short_addresses)), each.short_addresses);
        }
}

TEST(Smmuv3Command, OfADevicesTlbTakesAts) {
    EXPECT_TRUE(decode(CommandWords{0x40, 52}, kRich));
    EXPECT_EQ(decode(CommandWords{0x40, 53}, kRich).error().cause(), "its Size is 53, and 52 is everything");
    EXPECT_EQ(decode(CommandWords{0x40, 52}, kPoor).error().cause(), "the device has no ATS here");
}

TEST(Smmuv3Command, ThatIsForTheVmmSaysForWhat) {
    const struct {
        const char* name;
        CommandWords words;
        Kind kind;
        std::uint32_t first, last;
    } cases[] = {
        {"CFGI_STE", {0x03 | at(0x99, 32), 1}, Kind::stream_entries, 0x99, 0x99},
        {"CFGI_STE_RANGE of 2", {0x04 | at(0x99, 32), 0}, Kind::stream_entries, 0x98, 0x99},
        {"CFGI_STE_RANGE of 256", {0x04 | at(0x1299, 32), 7}, Kind::stream_entries, 0x1200, 0x12ff},
        {"CFGI_ALL", {0x04 | at(0x99, 32), 31}, Kind::stream_entries, 0, ~0U},
        {"CMD_SYNC", {0x46 | at(1, 12), 0x1000}, Kind::sync, 0, 0},
        {"PRI_RESP", {0x41 | at(0x99, 32), 7}, Kind::page_response, 0, 0},
        {"PREFETCH_CONFIG", {0x01 | at(0x99, 32), 0}, Kind::nothing, 0, 0},
        {"PREFETCH_ADDR", {0x02 | at(0x99, 32), 0}, Kind::nothing, 0, 0},
    };
    for (const auto& each : cases) {
        const auto request = decode(each.words, kRich);
        ASSERT_TRUE(request) << each.name;
        EXPECT_EQ(request->kind, each.kind) << each.name;
        EXPECT_EQ(request->first, each.first) << each.name;
        EXPECT_EQ(request->last, each.last) << each.name;
    }
}

TEST(Smmuv3Command, OfNoGuestIsRefused) {
    for (const std::uint64_t opcode :
         {0x00U, 0x07U, 0x18U, 0x20U, 0x21U, 0x22U, 0x28U, 0x2aU, 0x50U, 0x70U, 0x80U, 0xffU})
        EXPECT_EQ(decode(CommandWords{opcode, 0}, kRich).error().code(), EINVAL) << opcode;
    for (const std::uint64_t opcode : {0x44U, 0x45U})
        EXPECT_EQ(decode(CommandWords{opcode, 0}, kRich).error().code(), EOPNOTSUPP) << opcode;
    EXPECT_EQ(decode(CommandWords{0x112, 0}, kPoor).error().text(),
              "cannot pass on the guest's command 0x112 0x0: EINVAL\n"
              "  this SMMU has no bits 0x100 in word 0 of command 0x12\n"
              "  tell the guest by CERROR_ILL, and stop its queue there");
}

TEST(Smmuv3Event, SaysWhatTheDeviceDid) {
    const Fault fault =
        decode(Event{.evt = {0x10 | at(1, 11) | at(0xabcde, 12) | at(0x99, 32),
                             0x1234 | at(1, 31) | at(1, 33) | at(1, 34) | at(1, 35) | at(1, 39) | at(2, 40),
                             0xdeadbeef000, 0xfff0123456789fff}});
    EXPECT_EQ(fault.type, 0x10);
    EXPECT_EQ(fault.stream, 0x99U);
    EXPECT_EQ(fault.substream, 0xabcdeU);
    EXPECT_TRUE(fault.stalled && fault.privileged && fault.instruction && fault.read && fault.stage2);
    EXPECT_EQ(fault.stall_tag, 0x1234);
    EXPECT_EQ(fault.fault_class, 2U);
    EXPECT_EQ(fault.address, 0xdeadbeef000U);
    EXPECT_EQ(fault.physical, 0x0000123456789000U);
    const Fault plain = decode(Event{.evt = {0x04 | at(0xabcde, 12), 0, 0, 0}});
    EXPECT_FALSE(plain.substream || plain.stalled || plain.privileged || plain.instruction || plain.read ||
                 plain.stage2);
}

}  // namespace
}  // namespace iommufd::viommu::smmuv3
