// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/tree.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace iommufd::model {
namespace {

class ModelTree : public ::testing::Test {
protected:
    void SetUp() override {
        tree.cover("/sys/bus");
        tree.cover("/dev/vhost-");
        tree.file("/sys/devices/one/name", "one\n");
        tree.link("/sys/bus/pci/one", "../../devices/one");
        tree.link("/sys/bus/absolute", "/sys/devices/one/name");
        tree.link("/sys/bus/round", "round");
    }

    Tree tree;
    std::string text;
    std::vector<std::string> names;
};

TEST_F(ModelTree, CoversWholeNamesAndPrefixes) {
    EXPECT_TRUE(tree.covers("/sys/bus"));
    EXPECT_TRUE(tree.covers("/sys/bus/pci"));
    EXPECT_FALSE(tree.covers("/sys/business"));
    EXPECT_FALSE(tree.covers("/sys"));
    EXPECT_TRUE(tree.covers("/dev/vhost-vdpa-3"));
}

TEST_F(ModelTree, FollowsLinks) {
    EXPECT_EQ(tree.read_file("/sys/bus/pci/one/name", text), 0);
    EXPECT_EQ(text, "one\n");
    EXPECT_EQ(tree.read_file("/sys/bus//absolute", text), 0);
    EXPECT_EQ(tree.read_file("/sys/bus/pci/one/../one/./name", text), 0);
    EXPECT_EQ(tree.readlink("/sys/bus/pci/one", text), 0);
    EXPECT_EQ(text, "../../devices/one");
    EXPECT_EQ(tree.readlink("/sys/bus/pci", text), -EINVAL);
    EXPECT_EQ(tree.read_file("/sys/bus/round", text), -ELOOP);
}

TEST_F(ModelTree, SaysWhatIsNotThere) {
    EXPECT_EQ(tree.read_file("/sys/bus/two", text), -ENOENT);
    EXPECT_EQ(tree.read_file("/sys/devices/one/name/more", text), -ENOTDIR);
    EXPECT_EQ(tree.read_file("/sys/devices/one", text), -EISDIR);
    EXPECT_EQ(tree.readdir("/sys/devices/one/name", names), -ENOTDIR);
    EXPECT_EQ(tree.readdir("/sys/devices/two", names), -ENOENT);
}

TEST_F(ModelTree, ListsWhatAFolderHolds) {
    EXPECT_EQ(tree.readdir("/sys/bus", names), 0);
    EXPECT_EQ(names, (std::vector<std::string>{"absolute", "pci", "round"}));
    EXPECT_EQ(tree.readdir("/sys/bus/pci/one", names), 0);
    EXPECT_EQ(names, std::vector<std::string>{"name"});
}

}  // namespace
}  // namespace iommufd::model
