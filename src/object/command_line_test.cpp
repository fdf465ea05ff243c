// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace iommufd::object {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

std::vector<std::string> normal(std::vector<const char*> arguments) { return normalise_argv(arguments); }

TEST(NormaliseArgv, OneDashBecomesTwo) {
    EXPECT_THAT(normal({"run", "-object", "iommufd,id=a", "-device", "x", "--object", "y"}),
                ElementsAre("run", "--object", "iommufd,id=a", "--device", "x", "--object", "y"));
    EXPECT_THAT(normal({"-object=iommufd,id=a", "--device=x"}),
                ElementsAre("--object=iommufd,id=a", "--device=x"));
    EXPECT_THAT(normal({"-qmp", "unix:-device", "-qmp=unix:b"}),
                ElementsAre("--qmp", "unix:-device", "--qmp=unix:b"));
}

TEST(NormaliseArgv, OtherArgumentsAreLeftAlone) {
    const std::vector<const char*> arguments{"-o",    "-objects", "-objec", "object", "-obj=-object",
                                             "-json", "-",        "",       "-v",     "---object"};
    EXPECT_THAT(normal(arguments), ElementsAreArray(arguments));
}

TEST(NormaliseArgv, AValueIsNoOption) {
    EXPECT_THAT(normal({"-object", "-device", "-device", "-object"}),
                ElementsAre("--object", "-device", "--device", "-object"));
    EXPECT_THAT(normal({"-object=x", "-device", "y"}), ElementsAre("--object=x", "--device", "y"));
    EXPECT_THAT(normal({"-object", "--", "-object"}), ElementsAre("--object", "--", "--object"));
}

TEST(NormaliseArgv, AfterTheEndOfOptionsThereAreNone) {
    EXPECT_THAT(normal({"-object", "x", "--", "-object", "x"}),
                ElementsAre("--object", "x", "--", "-object", "x"));
}

TEST(NormaliseArgv, WhatIsNormalStaysAsItIs) {
    EXPECT_TRUE(rc::check([] {
        const auto words = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
            "-object", "--object", "-device", "--device=a", "-object=b", "--", "-x", "y"));
        const auto twice = [](const std::vector<std::string>& arguments) {
            std::vector<const char*> pointers;
            for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
            return normalise_argv(pointers);
        };
        const auto once = twice(words);
        RC_ASSERT(once.size() == words.size());
        RC_ASSERT(twice(once) == once);
    }));
}

}  // namespace
}  // namespace iommufd::object
