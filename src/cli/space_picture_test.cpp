// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/space_picture.hpp"

#include <gmock/gmock.h>

namespace iommufd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;
using Kind = Segment::Kind;

constexpr std::uint64_t kAll = ~std::uint64_t{0};

Json mapping(std::uint64_t iova, std::uint64_t size, const char* memory = "ram",
             const char* state = "mapped") {
    return {{"iova", iova}, {"size", size},      {"memory", memory},
            {"offset", 0},  {"readonly", false}, {"state", state}};
}

Json range(std::uint64_t first, std::uint64_t last) { return {{"first", first}, {"last", last}}; }

template <class... Items>
Json list(const Items&... items) {
    Json all = Json::array();
    (all.push_back(items), ...);
    return all;
}

Json space(Json mappings, Json reachable) {
    return {{"id", "dma0"}, {"mappings", std::move(mappings)}, {"reachable", std::move(reachable)}};
}

std::vector<std::tuple<std::uint64_t, std::uint64_t, Kind>> pieces(const Json& space) {
    std::vector<std::tuple<std::uint64_t, std::uint64_t, Kind>> all;
    for (const Segment& segment : segments(space))
        all.emplace_back(segment.first, segment.last, segment.kind);
    return all;
}

TEST(SpacePictureTest, EveryAddressIsInOnePieceAndTheyAreInOrder) {
    const Json reachable = list(range(0, 0xfedfffff), range(0xfef00000, 0xffffffffffff));
    EXPECT_THAT(
        pieces(space(list(mapping(0x4000000, 0x1000), mapping(0x4001000, 0x1000)), reachable)),
        ElementsAre(std::tuple(0, 0x3ffffff, Kind::free), std::tuple(0x4000000, 0x4000fff, Kind::mapped),
                    std::tuple(0x4001000, 0x4001fff, Kind::mapped),
                    std::tuple(0x4002000, 0xfedfffff, Kind::free),
                    std::tuple(0xfee00000, 0xfeefffff, Kind::reserved),
                    std::tuple(0xfef00000, 0xffffffffffff, Kind::free),
                    std::tuple(0x1000000000000, kAll, Kind::reserved)));
}

TEST(SpacePictureTest, NothingMappedIsOnePiece) {
    EXPECT_THAT(pieces(space(Json::array(), list(range(0, kAll)))),
                ElementsAre(std::tuple(0, kAll, Kind::free)));
    EXPECT_THAT(pieces(space(Json::array(), Json::array())),
                ElementsAre(std::tuple(0, kAll, Kind::reserved)));
}

TEST(SpacePictureTest, AMappingAtTheVeryEndIsTheLastPiece) {
    EXPECT_THAT(
        pieces(space(list(mapping(kAll - 0xfff, 0x1000)), list(range(0x1000, kAll)))),
        ElementsAre(std::tuple(0, 0xfff, Kind::reserved), std::tuple(0x1000, kAll - 0x1000, Kind::free),
                    std::tuple(kAll - 0xfff, kAll, Kind::mapped)));
}

TEST(SpacePictureTest, WhatIsNotMappedAsItShouldBeIsToldApart) {
    const Json all = list(range(0, kAll));
    const auto drawn = segments(
        space(list(mapping(0, 0x1000, "ram", "planned"), mapping(0x1000, 0x1000, "bar", "unreached")), all));
    EXPECT_EQ(drawn[0].kind, Kind::planned);
    EXPECT_EQ(drawn[1].kind, Kind::troubled);
    EXPECT_EQ(drawn[1].text, "bar+0x0, unreached");
}

TEST(SpacePictureTest, TheTextHasALineForEachAndColourOnlyWhereItIsAsked) {
    const auto drawn = segments(space(list(mapping(0x1000, 0x200000)), list(range(0, kAll))));
    const std::string plain = draw_text(drawn, false);
    EXPECT_EQ(std::ranges::count(plain, '\n'), 3);
    EXPECT_THAT(plain, HasSubstr("  0x0000000000001000           2 MiB  ###             mapped  ram+0x0\n"));
    EXPECT_THAT(plain, Not(HasSubstr("\033")));
    EXPECT_THAT(draw_text(drawn, true), HasSubstr("\033[32m"));
}

TEST(SpacePictureTest, NamesCanNotBreakTheSvg) {
    const std::string svg = draw_svg(list(space(list(mapping(0, 0x1000, "<b>&\"")), Json::array())));
    EXPECT_THAT(svg, HasSubstr("&lt;b&gt;&amp;&quot;+0x0"));
    EXPECT_THAT(svg, ::testing::StartsWith("<svg "));
    EXPECT_THAT(svg, ::testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace iommufd::cli
