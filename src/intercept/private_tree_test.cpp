// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/private_tree.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>

#include "iommufd/model/machine.hpp"
#include "model/inside.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

class PrivateTreeTest : public testing::Test {
protected:
    PrivateTreeTest() {
        EXPECT_TRUE(::mkdtemp(place_.data()));
        EXPECT_EQ(::setenv("TMPDIR", place_.c_str(), 1), 0);
    }
    ~PrivateTreeTest() override {
        before_.empty() ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", before_.c_str(), 1);
        std::filesystem::remove_all(place_);
    }

    Result<PrivateTree> make() { return PrivateTree::make(model::Inside::of(machine_).tree); }
    auto folders() const { return std::distance(std::filesystem::directory_iterator(place_), {}); }
    void be_killed() {
        const pid_t child = ::fork();
        if (child == 0) {
            const auto tree = make();
            ::_exit(tree ? 0 : 1);
        }
        int status = -1;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
    }
    void age() const {
        for (const auto& folder : std::filesystem::directory_iterator(place_))
            std::filesystem::last_write_time(
                folder, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(5));
    }

    const std::string before_ = std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "";
    std::string place_ = testing::TempDir() + "private_tree_testXXXXXX";
    model::Machine machine_{model::everything()};
};

TEST_F(PrivateTreeTest, GoesWithItsSupervisor) {
    {
        const auto tree = make();
        ASSERT_TRUE(tree);
        EXPECT_EQ(folders(), 1);
    }
    EXPECT_EQ(folders(), 0);
}

TEST_F(PrivateTreeTest, ThatOfOneThatWasKilledGoesWithTheNextOneAndThatOfOneThatLivesStays) {
    be_killed();
    const auto living = make();
    ASSERT_TRUE(living);
    EXPECT_EQ(folders(), 2) << "the other may be about to begin";
    age();
    std::filesystem::create_directory(place_ + "/iommufd-modelling");
    std::filesystem::create_directory_symlink(place_ + "/iommufd-modelling", place_ + "/iommufd-model-link");
    const auto next = make();
    EXPECT_EQ(folders(), 4) << "two trees, and what is none";
    EXPECT_GE(living->open("/dev", O_PATH), 0);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
