// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/notation.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "error/compose.hpp"
#include "iommufd/core/types.hpp"

namespace iommufd::object {
namespace {

constexpr std::uint64_t kMost = ~std::uint64_t{0};

TEST(Notation, SizesAreReadAsQemuReadsThem) {
    const std::pair<std::string_view, std::uint64_t> table[] = {
        {"0", 0},
        {"4096", 4096},
        {"4096b", 4096},
        {"4096B", 4096},
        {"0x1000", 4096},
        {"0X1b", 27},
        {"64k", 64_KiB},
        {"64K", 64_KiB},
        {"64M", 64_MiB},
        {"4g", 4_GiB},
        {"2T", 2048_GiB},
        {"1P", 1_MiB * 1_GiB},
        {"15E", 15 * 1_GiB * 1_GiB},
        {"1.5G", 1536_MiB},
        {"0.5k", 512},
        {"0.0004k", 0},
        {"1.25M", 1280_KiB},
        {"010", 10},
        {"18446744073709551615", kMost},
        {"0xffffffffffffffff", kMost},
        {"15.5E", 15 * 1_GiB * 1_GiB + 512 * 1_MiB * 1_GiB},
    };
    for (const auto& [text, bytes] : table) EXPECT_EQ(read_size(text), bytes) << text;
}

TEST(Notation, WhatIsNoSizeIsNotRead) {
    for (const std::string_view text : {"",
                                        " 1",
                                        "1 ",
                                        "-1",
                                        "+1",
                                        "M",
                                        ".5M",
                                        "1.5",
                                        "1.5b",
                                        "1.5.5M",
                                        "1.-5M",
                                        "64Q",
                                        "64MB",
                                        "64MiB",
                                        "0x",
                                        "0x10M",
                                        "16E",
                                        "15.99999999999999999999E",
                                        "18446744073709551616",
                                        "1e3",
                                        "nan",
                                        "inf",
                                        "1,5G",
                                        "64M\n"})
        EXPECT_EQ(read_size(text), std::nullopt) << text;
}

TEST(Notation, EverySizeIsReadBackFromItsDecimalAndHexadecimalForm) {
    EXPECT_TRUE(rc::check([](std::uint64_t bytes) {
        RC_ASSERT(read_size(compose(bytes)) == bytes);
        RC_ASSERT(read_size(compose(Hex{bytes})) == bytes);
    }));
}

TEST(Notation, AWholeNumberOfUnitsIsExactHoweverLarge) {
    EXPECT_TRUE(rc::check([] {
        const unsigned exponent = *rc::gen::inRange(0U, 7U);
        const auto count = *rc::gen::inRange<std::uint64_t>(0, (kMost >> 10 * exponent) + (exponent ? 1 : 0));
        RC_ASSERT(read_size(compose(count, std::string(1, "bkmgtpe"[exponent]))) == count << 10 * exponent);
    }));
}

TEST(Notation, NumbersAreDecimalOrHexadecimalAndNeverOctal) {
    EXPECT_EQ(read_number("010"), 10U);
    EXPECT_EQ(read_number("0x10"), 16U);
    for (const std::string_view text : {"", "-1", "+1", "0x", "1k", "ten", "1.0"})
        EXPECT_EQ(read_number(text), std::nullopt) << text;
}

TEST(Notation, BooleansAreReadAsQemuReadsThem) {
    for (const std::string_view text : {"on", "yes", "true", "y"})
        EXPECT_EQ(read_boolean(text), true) << text;
    for (const std::string_view text : {"off", "no", "false", "n"})
        EXPECT_EQ(read_boolean(text), false) << text;
    for (const std::string_view text : {"", "1", "0", "On", "TRUE", "enable"})
        EXPECT_EQ(read_boolean(text), std::nullopt) << text;
}

TEST(Notation, NodesAreOneOrARange) {
    EXPECT_EQ(read_node_range("3"), (std::pair<std::uint64_t, std::uint64_t>(3, 3)));
    EXPECT_EQ(read_node_range("0-7"), (std::pair<std::uint64_t, std::uint64_t>(0, 7)));
    for (const std::string_view text : {"", "-", "1-", "-1", "3-1", "1-2-3", "a"})
        EXPECT_EQ(read_node_range(text), std::nullopt) << text;
}

TEST(Notation, PciAddressesAreWrittenOutInFull) {
    EXPECT_EQ(read_pci_address("02:00.0"), "0000:02:00.0");
    EXPECT_EQ(read_pci_address("0000:02:00.0"), "0000:02:00.0");
    EXPECT_EQ(read_pci_address("2:1f.7"), "0000:02:1f.7");
    EXPECT_EQ(read_pci_address("10000:E1:00.0"), "10000:e1:00.0");
    for (const std::string_view text : {"", "02:00", "02.0", "0000:02:00.8", "02:20.0", "100:00.0",
                                        "0:0:0:0.0", "g:00.0", "02:00.0 ", "/sys/x"})
        EXPECT_EQ(read_pci_address(text), std::nullopt) << text;
}

TEST(Notation, IdsAreThoseThatQemuTakes) {
    for (const std::string_view text : {"a", "iommufd0", "A-b_c.d9"}) EXPECT_TRUE(is_id(text)) << text;
    for (const std::string_view text : {"", "0a", "_a", "-a", "a b", "a/b", "a,b", "\xc3\xa4", "a\n"})
        EXPECT_FALSE(is_id(text)) << text;
}

TEST(Notation, UuidsHaveTheirDashesInTheirPlaces) {
    EXPECT_TRUE(is_uuid("83b8f4f2-509f-382f-3c1e-E6BFE0FA1001"));
    for (const std::string_view text :
         {"", "83b8f4f2509f382f3c1ee6bfe0fa1001", "83b8f4f2-509f-382f-3c1e-e6bfe0fa100",
          "83b8f4f2-509f-382f-3c1e-e6bfe0fa100g"})
        EXPECT_FALSE(is_uuid(text)) << text;
}

}  // namespace
}  // namespace iommufd::object
