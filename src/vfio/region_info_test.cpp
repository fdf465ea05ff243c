// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/region_info.hpp"

#include <gmock/gmock.h>

#include <cstring>

namespace iommufd::vfio {
namespace {

namespace abi = uapi::vfio;

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint32_t kFirst = sizeof(abi::RegionInfo);

MATCHER_P2(AreaIs, offset, size, "") { return arg.offset == offset && arg.size == size; }

// What the kernel would answer of a region of 64 KiB.
class Answer {
public:
    explicit Answer(std::uint32_t cap_offset = 0) {
        append(abi::RegionInfo{
            .argsz = 0,
            .flags = abi::kRegionRead | abi::kRegionMmap | (cap_offset ? abi::kRegionCaps : 0),
            .index = 0,
            .cap_offset = cap_offset,
            .size = 0x10000,
            .offset = 0});
    }

    template <class T>
    Answer& append(const T& value) {
        const std::size_t end = bytes_.size();
        bytes_.resize(end + sizeof value);
        std::memcpy(bytes_.data() + end, &value, sizeof value);
        return *this;
    }
    Answer& header(std::uint16_t id, std::uint32_t next) {
        return append(abi::InfoCapHeader{.id = id, .version = 1, .next = next});
    }
    Answer& sparse(std::uint32_t next, std::uint32_t count,
                   const std::vector<abi::RegionSparseMmapArea>& areas) {
        append(abi::RegionInfoCapSparseMmap{
            .header = {.id = abi::kRegionCapSparseMmap, .version = 1, .next = next},
            .nr_areas = count,
            .reserved = 0});
        for (const auto& area : areas) append(area);
        return *this;
    }

    std::vector<Area> areas() const { return mappable_areas(bytes_); }
    std::vector<std::byte>& bytes() { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

TEST(RegionInfo, WithoutCapabilitiesAllOfTheRegionCanBeMapped) {
    EXPECT_THAT(Answer().areas(), ElementsAre(AreaIs(0U, 0x10000U)));
}

TEST(RegionInfo, WithoutTheFlagNothingCanBeMapped) {
    Answer answer;
    abi::RegionInfo info;
    std::memcpy(&info, answer.bytes().data(), sizeof info);
    info.flags = abi::kRegionRead;
    std::memcpy(answer.bytes().data(), &info, sizeof info);
    EXPECT_THAT(answer.areas(), IsEmpty());
}

TEST(RegionInfo, SparseAreasAreTheOnlyOnesAndComeInOrder) {
    EXPECT_THAT(Answer(kFirst).sparse(0, 2, {{0x8000, 0x1000}, {0, 0x2000}}).areas(),
                ElementsAre(AreaIs(0U, 0x2000U), AreaIs(0x8000U, 0x1000U)));
    EXPECT_THAT(Answer(kFirst).sparse(0, 0, {}).areas(), IsEmpty());
}

TEST(RegionInfo, OtherCapabilitiesArePassedOver) {
    EXPECT_THAT(Answer(kFirst).header(abi::kRegionCapMsixMappable, 0).areas(),
                ElementsAre(AreaIs(0U, 0x10000U)));
    EXPECT_THAT(Answer(kFirst)
                    .header(77, kFirst + sizeof(abi::InfoCapHeader))
                    .sparse(0, 1, {{0x1000, 0x1000}})
                    .areas(),
                ElementsAre(AreaIs(0x1000U, 0x1000U)));
}

TEST(RegionInfo, AreasOutsideTheRegionAreLeftOut) {
    EXPECT_THAT(
        Answer(kFirst)
            .sparse(0, 5, {{0x10000, 0x1000}, {0xf000, 0x2000}, {0x1000, 0}, {~0ULL, 2}, {0x1000, ~0ULL}})
            .areas(),
        IsEmpty());
}

TEST(RegionInfo, ACountLargerThanTheAnswerReadsNothingBeyondIt) {
    EXPECT_THAT(Answer(kFirst).sparse(0, 0xffffffff, {{0, 0x1000}}).areas(),
                ElementsAre(AreaIs(0U, 0x1000U)));
}

TEST(RegionInfo, OfABrokenChainNothingIsMapped) {
    EXPECT_THAT(Answer(4).areas(), IsEmpty()) << "it points into the header";
    EXPECT_THAT(Answer(0xfffffff0).areas(), IsEmpty()) << "it points outside";
    EXPECT_THAT(Answer(kFirst).areas(), IsEmpty()) << "it points just behind the end";
    EXPECT_THAT(Answer(kFirst).header(77, kFirst).areas(), IsEmpty()) << "it points at itself";
    EXPECT_THAT(Answer(kFirst).header(77, kFirst + 8).header(78, kFirst).areas(), IsEmpty()) << "a circle";
    EXPECT_THAT(Answer(kFirst).header(77, kFirst + 4).header(78, 0).areas(), IsEmpty()) << "they overlap";
    EXPECT_THAT(Answer(kFirst).header(abi::kRegionCapSparseMmap, 0).areas(), IsEmpty()) << "it is cut";
}

// Every truncation, and every byte changed to the values that are likely to hurt.
TEST(RegionInfo, NoAnswerMakesItReadOrReturnWhatIsOutside) {
    const std::vector<std::byte> good =
        Answer(kFirst).header(77, kFirst + 8).sparse(0, 2, {{0, 0x2000}, {0x8000, 0x1000}}).bytes();
    for (std::size_t length = 0; length <= good.size(); ++length)
        for (std::size_t changed = 0; changed < std::max<std::size_t>(length, 1); ++changed)
            for (const unsigned value : {0x00U, 0x01U, 0x08U, 0x20U, 0x7fU, 0x80U, 0xffU}) {
                // A block of its own, so that a sanitizer sees any byte too many.
                std::vector<std::byte> answer(good.begin(),
                                              good.begin() + static_cast<std::ptrdiff_t>(length));
                if (changed < answer.size()) answer[changed] = static_cast<std::byte>(value);
                abi::RegionInfo info{};
                if (!answer.empty()) std::memcpy(&info, answer.data(), std::min(sizeof info, answer.size()));
                for (const Area& area : mappable_areas(answer)) {
                    ASSERT_LT(area.offset, info.size);
                    ASSERT_LE(area.size, info.size - area.offset);
                }
            }
}

}  // namespace
}  // namespace iommufd::vfio
