// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "error/compose.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace iommufd {
namespace {

TEST(Compose, JoinsTextAndNumbers) {
    EXPECT_EQ(compose("cannot map ", Hex{0x40000000}, "+", Hex{0x200000}, " into ioas ", 3U),
              "cannot map 0x40000000+0x200000 into ioas 3");
    EXPECT_EQ(compose("pasid ", -1), "pasid -1");
    EXPECT_EQ(compose(), "");
}

TEST(Compose, WritesTheLargestAndTheLeastNumbers) {
    EXPECT_EQ(compose(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
    EXPECT_EQ(compose(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
    EXPECT_EQ(compose(Hex{std::numeric_limits<std::uint64_t>::max()}), "0xffffffffffffffff");
    EXPECT_EQ(compose(Hex{0}), "0x0");
}

TEST(SizeText, UsesTheLargestUnitThatLeavesAWholeNumber) {
    EXPECT_EQ(size_text(4096), "4 KiB");
    EXPECT_EQ(size_text(1536), "1536 bytes");
    EXPECT_EQ(size_text(64ULL << 20), "64 MiB");
    EXPECT_EQ(size_text(3ULL << 29), "1536 MiB");
    EXPECT_EQ(size_text(1ULL << 40), "1 TiB");
}

TEST(SizeText, CopesWithTheEnds) {
    EXPECT_EQ(size_text(0), "0 bytes");
    EXPECT_EQ(size_text(1), "1 bytes");
    EXPECT_EQ(size_text(8ULL << 60), "8 EiB");
    EXPECT_EQ(size_text(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615 bytes");
}

}  // namespace
}  // namespace iommufd
