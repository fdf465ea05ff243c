// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The comparison itself: two models agree, and where one lies, that is found with few calls.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "conformance/comparison.hpp"
#include "iommufd/model/machine.hpp"

namespace iommufd::conformance {
namespace {

class Conformance : public ::testing::Test {
protected:
    Arena arena;
    int eventfd = ::eventfd(0, EFD_CLOEXEC);
    model::Machine one{{.devices = {}, .mock = true}};
    model::Machine other{{.devices = {}, .mock = true}};
    model::Machine liar{{.devices = {}, .sys_rawio = false, .mock = true}};
    Side first{one.kernel(), arena, eventfd, false};
};

TEST_F(Conformance, OfAModelWithAnotherHasNoDifferencesAndLeavesNothing) {
    {
        Side second(other.kernel(), arena, eventfd, false);
        Comparison comparison(first, second, arena);
        for (std::uint64_t seed = 1; comparison.calls() < 20000; ++seed) {
            Generator generator(seed);
            const auto found = comparison.run(generator, 100);
            ASSERT_FALSE(found) << "seed " << seed << '\n' << found->text();
        }
        EXPECT_GT(comparison.coverage().size(), 50U) << text_of(comparison.coverage());
    }
    EXPECT_EQ(other.leaks().text(), "nothing");
}

TEST_F(Conformance, OfAModelWithOneThatDiffersInOneAnswerEndsWithOneCall) {
    Side second(liar.kernel(), arena, eventfd, false);
    Comparison comparison(first, second, arena);
    for (std::uint64_t seed = 1; seed < 1000; ++seed) {
        Generator generator(seed);
        if (const auto found = comparison.run(generator, 100)) {
            EXPECT_EQ(found->calls.size(), 1U) << found->text();
            EXPECT_EQ(found->calls.back().name, "IOAS_NOIOMMU_GET_PA");
            EXPECT_EQ(found->second.result, -EPERM);
            return;
        }
    }
    FAIL() << "not found";
}

}  // namespace
}  // namespace iommufd::conformance
