// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/schema.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "object/kinds.hpp"

namespace iommufd::object {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Schema, EveryTypeCanBeMadeAndEveryPropertyIsExplained) {
    for (const TypeInfo& type : types()) {
        EXPECT_EQ(kind_of(type).type, type.name);
        EXPECT_FALSE(type.doc.empty()) << type.name;
        std::set<std::string_view> keys{"id"};
        for (const PropertyInfo& property : type.properties) {
            EXPECT_TRUE(keys.insert(property.key).second) << type.name << " " << property.key;
            EXPECT_FALSE(property.doc.empty()) << type.name << " " << property.key;
            EXPECT_FALSE(property.doc.ends_with('.')) << type.name << " " << property.key;
        }
        for (const std::string_view key : type.one_of)
            EXPECT_TRUE(keys.contains(key)) << type.name << " " << key;
    }
}

TEST(Schema, StandardValuesAreRightOnes) {
    for (const TypeInfo& type : types())
        for (const PropertyInfo& property : type.properties) {
            if (property.standard.empty()) continue;
            Definition definition{.type = std::string(type.name), .id = "x"};
            definition.properties = {{std::string(property.key), std::string(property.standard)}};
            const auto checked = check(definition);
            // Others may be missing; this one is right.
            EXPECT_TRUE(checked || checked.error().line().find(" is no ") == std::string::npos)
                << checked.error().line();
        }
}

// The order of creation, and that there always is one, rests on this.
TEST(Schema, NoTypeRefersToItselfOverHoweverManyOthers) {
    std::set<std::string_view> above;
    const std::function<void(const TypeInfo&)> walk = [&](const TypeInfo& type) {
        ASSERT_TRUE(above.insert(type.name).second) << type.name;
        for (const PropertyInfo& property : type.properties)
            if (property.kind == ValueKind::reference)
                for (const std::string_view target : property.words) {
                    ASSERT_NE(find_type(target), nullptr) << target;
                    walk(*find_type(target));
                }
        above.erase(type.name);
    };
    for (const TypeInfo& type : types()) walk(type);
}

TEST(Schema, HelpListsTheTypesOfAnOption) {
    const std::string text = *help_for(Option::object, "help");
    EXPECT_THAT(text, HasSubstr("\n  iommufd                   controls DMA mapping through /dev/iommu"));
    EXPECT_THAT(text, HasSubstr("dma-mapping"));
    EXPECT_THAT(text, Not(HasSubstr("vfio-pci")));
    EXPECT_EQ(help_for(Option::object, "?"), text);
    EXPECT_THAT(*help_for(Option::device, "help"), HasSubstr("vfio-pci"));
    EXPECT_EQ(help_for(Option::device, "iommufd,help"), help(Option::device));
}

TEST(Schema, HelpListsTheSettingsAndTheStateOfAType) {
    const std::string text = *help_for(Option::object, "memory-backend-ram,id=m,help");
    EXPECT_THAT(
        text, HasSubstr("-object memory-backend-ram,id=ID[,KEY=VALUE...]: private memory of this process\n"));
    EXPECT_THAT(
        text,
        HasSubstr("\n  size=SIZE                 how much memory, rounded up to whole pages (required)\n"));
    EXPECT_THAT(text, HasSubstr("\n  share=on|off              whether it is shared"));
    EXPECT_THAT(text, HasSubstr("(standard: off)\n"));
    EXPECT_THAT(text, HasSubstr("\n  policy=default|preferred|bind|interleave\n"));
    EXPECT_THAT(text, HasSubstr("To be read only:\n  address "));
    EXPECT_THAT(*help_for(Option::device, "vfio-pci,?"), HasSubstr("(exactly one of host, sysfsdev, fd)"));
}

TEST(Schema, ADefinitionAsksForNoHelp) {
    for (const std::string_view text :
         {"", "iommufd,id=help", "iommufd,id=a", R"({"help":"help"})", "helpful"})
        EXPECT_EQ(help_for(Option::object, text), std::nullopt) << text;
}

}  // namespace
}  // namespace iommufd::object
