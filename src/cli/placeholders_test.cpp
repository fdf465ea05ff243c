// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/placeholders.hpp"

#include <gmock/gmock.h>

namespace iommufd::cli {
namespace {

using ::testing::HasSubstr;

std::optional<int> resolve(std::string_view inside) {
    if (inside == "iommufd") return 3;
    if (inside == "vfio:0000:02:00.0") return 14;
    return std::nullopt;
}

std::string filled(const std::string& word) { return fill_in({word}, resolve).value().front(); }

TEST(PlaceholdersTest, AreReplacedWhereverTheyStandAndHoweverMany) {
    EXPECT_EQ(filled("{iommufd}"), "3");
    EXPECT_EQ(filled("iommufd,id=i,fd={iommufd}"), "iommufd,id=i,fd=3");
    EXPECT_EQ(filled("{iommufd}{vfio:0000:02:00.0}{iommufd}"), "3143");
    EXPECT_EQ(filled("({vfio:0000:02:00.0})"), "(14)");
    EXPECT_EQ(filled(R"({"driver":"vfio-pci","fd":"{vfio:0000:02:00.0}"})"),
              R"({"driver":"vfio-pci","fd":"14"})");
}

TEST(PlaceholdersTest, OtherBracesStayAsTheyAre) {
    for (const char* const word : {"",
                                   "{",
                                   "}",
                                   "{}",
                                   "{{",
                                   "{{}}",
                                   "${HOME}",
                                   "{a b",
                                   "{1..3}",
                                   "a,{b,c}",
                                   R"({"qom-type":"iommufd","id":"i"})",
                                   R"([{"a":{"b":[1,2]}}])",
                                   "{ print }",
                                   "{'iommufd'}",
                                   "{iommufd",
                                   "iommufd}",
                                   "{{.Name}}",
                                   "{:}",
                                   "{key: value}",
                                   "{f(x)}",
                                   "{x:'y'}"})
        EXPECT_EQ(filled(word), word);
}

TEST(PlaceholdersTest, ADoubledBraceKeepsWhatFollows) {
    EXPECT_EQ(filled("{{print}"), "{print}");
    EXPECT_EQ(filled("{{iommufd}={iommufd}"), "{iommufd}=3");
}

TEST(PlaceholdersTest, OneThatIsUnknownIsRefusedByName) {
    for (const std::string inside : {"iomufd", "vfio:0000:03:00.0", "vfio:", "vfio", "iommufd:", "print"}) {
        const Error error = fill_in({"true", "fd={" + inside + "}"}, resolve).error();
        EXPECT_EQ(error.code(), EINVAL);
        EXPECT_THAT(error.line(), HasSubstr("there is no descriptor for {" + inside + "}"));
    }
}

}  // namespace
}  // namespace iommufd::cli
