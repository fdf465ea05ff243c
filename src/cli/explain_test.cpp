// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/explain.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "error/table.hpp"
#include "iommufd/error/error.hpp"

namespace iommufd::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::string text(const std::string& operation, const std::string& code = "") {
    return text_of(explained(operation, code).value());
}

TEST(ExplainTableTest, SaysWhatTheErrorOfTheLibraryWouldSay) {
    const Explanation expected = iommufd::explain(Operation::ioas_map, ENOMEM);
    EXPECT_EQ(text("IOMMU_IOAS_MAP", "ENOMEM"), "IOMMU_IOAS_MAP (Linux 6.2): ENOMEM\n  " +
                                                    std::string(expected.cause) + "\n  " +
                                                    std::string(expected.next_step) + "\n");
}

TEST(ExplainTableTest, NamesMayLackTheirPrefixAndBeInAnyCaseAndErrnosMayBeNumbers) {
    for (const char* const name : {"IOAS_MAP", "ioas_map", "iommu_ioas_map"})
        for (const char* const code : {"ENOMEM", "enomem", "12"})
            EXPECT_EQ(text(name, code), text("IOMMU_IOAS_MAP", "ENOMEM"));
    EXPECT_EQ(text("bind_iommufd", "EDEADLOCK"), text("VFIO_DEVICE_BIND_IOMMUFD", "EDEADLK"));
    EXPECT_THAT(text("open", "EACCES"), StartsWith("open: EACCES\n"));
}

TEST(ExplainTableTest, AnErrnoThatAnOperationHasNoRowOfIsExplainedInGeneral) {
    EXPECT_THAT(text("IOAS_MAP", "EXDEV"),
                StartsWith("IOMMU_IOAS_MAP (Linux 6.2): EXDEV, as of any operation\n"));
    EXPECT_THAT(text("IOAS_MAP", "ENOMEM"), Not(HasSubstr("any operation")));
}

TEST(ExplainTableTest, WithoutAnErrnoEveryRowOfTheOperationIsThere) {
    const std::string all = text("IOAS_UNMAP");
    std::size_t rows = 0;
    for (const Row& row : table_rows()) {
        if (row.operation != Operation::ioas_unmap) continue;
        ++rows;
        EXPECT_THAT(all, HasSubstr(text("IOAS_UNMAP", errno_name(row.code))));
    }
    EXPECT_GT(rows, 2U);
}

TEST(ExplainTableTest, WithoutAnythingTheOperationsAreListed) {
    EXPECT_THAT(text(""), AllOf(HasSubstr("IOMMU_HWPT_ALLOC (Linux 6.6)\n"), HasSubstr("open\n"),
                                Not(HasSubstr("refused"))));
}

TEST(ExplainTableTest, TheJsonSaysWhatTheTextSays) {
    const auto errors = explained("IOAS_MAP", "").value();
    const auto json = nlohmann::json::parse(json_of(errors));
    ASSERT_EQ(json.size(), errors.size());
    for (std::size_t i = 0; i < errors.size(); ++i) {
        EXPECT_EQ(json[i]["operation"], "IOMMU_IOAS_MAP");
        EXPECT_EQ(json[i]["since"], "6.2");
        EXPECT_EQ(json[i]["errno"], errors[i].errno_name);
        EXPECT_FALSE(json[i]["of-any-operation"].get<bool>());
        EXPECT_EQ(json[i]["cause"], errors[i].cause);
        EXPECT_EQ(json[i]["next-step"], errors[i].next_step);
    }
    EXPECT_TRUE(nlohmann::json::parse(json_of(explained("open", "EXDEV").value()))[0]["since"].is_null());
    EXPECT_FALSE(nlohmann::json::parse(json_of(explained("", "").value()))[0].contains("errno"));
}

TEST(ExplainTableTest, WhatIsThereNotIsRefusedWithTheWayToFindIt) {
    EXPECT_THAT(explained("IOAS_MOP", "ENOMEM").error().line(), HasSubstr("`iommufd explain` lists them"));
    for (const char* const code : {"ENOSUCH", "0", "-12", "12x", "4096"})
        EXPECT_EQ(explained("IOAS_MAP", code).error().code(), EINVAL) << code;
}

}  // namespace
}  // namespace iommufd::cli
