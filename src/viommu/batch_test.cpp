// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/batch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace iommufd::viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Single {
    static constexpr std::uint32_t kType = 3;
    std::uint32_t number;
};

// Sent to the hardware four at a time.
struct Lots {
    static constexpr std::uint32_t kType = 4;
    static constexpr std::size_t kLot = 4;
    std::uint32_t number;
};

// Refuses some numbers, as Linux does: it says how many came before.
class Target {
public:
    Result<void> invalidate(const core::Invalidation& invalidation, std::uint32_t& done,
                            std::uint32_t which = 0) const {
        last_which = which;
        last_type = invalidation.type;
        std::vector<std::uint32_t> numbers(invalidation.entries.size() / invalidation.entry_length);
        std::memcpy(numbers.data(), invalidation.entries.data(), invalidation.entries.size());
        for (done = 0; done < numbers.size(); ++done) {
            if (numbers[done] == refused) return Error(Operation::hwpt_invalidate, EIO);
            seen.push_back(numbers[done]);
        }
        return {};
    }
    std::uint32_t refused = ~0U;
    mutable std::vector<std::uint32_t> seen;
    mutable std::uint32_t last_which = 0;
    mutable std::uint32_t last_type = 0;
};

template <class Entry>
std::vector<std::uint32_t> left(const Batch<Entry>& batch) {
    std::vector<std::uint32_t> numbers;
    for (const Entry& entry : batch.entries()) numbers.push_back(entry.number);
    return numbers;
}

TEST(Batch, GoesInOneCallAndIsEmptyThen) {
    Target target;
    Batch<Single> batch;
    for (const std::uint32_t number : {1U, 2U, 3U}) ASSERT_TRUE(batch.add({number}));
    ASSERT_TRUE(batch.flush(target, 7U));
    EXPECT_THAT(target.seen, ElementsAre(1, 2, 3));
    EXPECT_EQ(target.last_type, 3U);
    EXPECT_EQ(target.last_which, 7U);
    EXPECT_EQ(batch.done(), 3U);
    EXPECT_TRUE(batch.empty());
    EXPECT_TRUE(batch.flush(target));
    EXPECT_EQ(batch.done(), 0U);
    batch.skip();
    EXPECT_TRUE(batch.empty());
}

TEST(Batch, TakesNoMoreThanItHolds) {
    Batch<Single, 2> batch;
    EXPECT_TRUE(batch.add({1}));
    EXPECT_TRUE(batch.add({2}));
    EXPECT_FALSE(batch.add({3}));
    EXPECT_EQ(batch.entries().size(), 2U);
}

TEST(Batch, KeepsTheRefusedEntryAndWhatFollowsUntilTheCallerSaysWhat) {
    Target target;
    target.refused = 2;
    Batch<Single> batch;
    for (const std::uint32_t number : {1U, 2U, 3U}) ASSERT_TRUE(batch.add({number}));
    EXPECT_EQ(batch.flush(target).error().code(), EIO);
    EXPECT_EQ(batch.done(), 1U);
    EXPECT_EQ(batch.bad(), 0U);
    EXPECT_THAT(left(batch), ElementsAre(2, 3));
    EXPECT_FALSE(batch.flush(target)) << "it is not forgotten";
    batch.skip();
    ASSERT_TRUE(batch.flush(target));
    EXPECT_THAT(target.seen, ElementsAre(1, 3));

    ASSERT_TRUE(batch.add({2}));
    EXPECT_FALSE(batch.flush(target));
    batch.clear();
    EXPECT_THAT(left(batch), IsEmpty());
}

TEST(Batch, SendsAgainWhatTheKernelMayHaveCountedWithoutSendingIt) {
    Target target;
    target.refused = 6;
    Batch<Lots> batch;
    for (std::uint32_t number = 0; number < 9; ++number) ASSERT_TRUE(batch.add({number}));
    EXPECT_FALSE(batch.flush(target));
    EXPECT_EQ(batch.done(), 4U);
    EXPECT_THAT(left(batch), ElementsAre(4, 5, 6, 7, 8));
    EXPECT_EQ(batch.entries()[batch.bad()].number, 6U);
    batch.skip();
    target.seen.clear();
    ASSERT_TRUE(batch.flush(target));
    EXPECT_THAT(target.seen, ElementsAre(4, 5, 7, 8));
}

}  // namespace
}  // namespace iommufd::viommu
