// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/error/result.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

namespace iommufd {
namespace {

Error busy() { return Error(Operation::destroy, EBUSY, "cannot destroy ioas 1"); }

Result<int> seven() { return 7; }
Result<int> no_int() { return busy(); }
Result<void> done() { return {}; }
Result<void> not_done() { return busy(); }

static_assert(!std::is_convertible_v<Result<int>, bool>);
static_assert(!std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
static_assert(std::is_nothrow_move_constructible_v<Result<std::unique_ptr<int>>>);
static_assert(!std::is_default_constructible_v<Result<int>>);

TEST(Result, HoldsAValueOrAnError) {
    ASSERT_TRUE(seven());
    EXPECT_EQ(*seven(), 7);
    ASSERT_FALSE(no_int());
    EXPECT_EQ(no_int().error().code(), EBUSY);
}

TEST(Result, OfNothingHoldsDoneOrAnError) {
    EXPECT_TRUE(done());
    ASSERT_FALSE(not_done());
    EXPECT_EQ(not_done().error().what(), "cannot destroy ioas 1");
}

TEST(Result, GivesItsValueByReference) {
    Result<std::string> text = std::string("ioas");
    text.value() += '0';
    *text += '1';
    EXPECT_EQ(text->size(), 6U);
    const Result<std::string>& same = text;
    EXPECT_EQ(same.value(), "ioas01");
    EXPECT_EQ(*same, "ioas01");
}

TEST(Result, ThrowsAFailureWithTheWholeTextWhereAValueIsInsistedOn) {
    try {
        (void)no_int().value();
        FAIL() << "value() returned";
    } catch (const Failure& failure) {
        EXPECT_EQ(failure.what(), busy().text());
        EXPECT_EQ(failure.error().operation(), Operation::destroy);
    }
}

TEST(Result, OfNothingThrowsWhereDoneIsInsistedOn) {
    EXPECT_NO_THROW(done().value());
    EXPECT_THROW(not_done().value(), Failure);
    const Result<void> kept = busy();
    EXPECT_THROW(kept.value(), Failure);
}

TEST(Result, HoldsAValueThatCanOnlyMove) {
    Result<std::unique_ptr<int>> held = std::make_unique<int>(7);
    Result<std::unique_ptr<int>> moved = std::move(held);
    const std::unique_ptr<int> value = std::move(moved).value();
    EXPECT_EQ(*value, 7);
    const std::unique_ptr<int> other = *Result<std::unique_ptr<int>>(std::make_unique<int>(8));
    EXPECT_EQ(*other, 8);
}

TEST(Result, StandsInWithAnotherValue) {
    const Result<int> value = seven();
    const Result<int> error = no_int();
    EXPECT_EQ(value.value_or(1), 7);
    EXPECT_EQ(error.value_or(1), 1);
}

TEST(Result, GoesOnWithTheNextStepOnlyAfterAValue) {
    const auto twice = [](int value) -> Result<long> { return 2L * value; };
    EXPECT_EQ(seven().and_then(twice).value(), 14);
    EXPECT_EQ(no_int().and_then(twice).error().code(), EBUSY);
    EXPECT_EQ(seven().and_then([](int) { return no_int(); }).error().code(), EBUSY);
}

TEST(Result, OfNothingGoesOnWithTheNextStepOnlyWhenDone) {
    EXPECT_EQ(done().and_then(seven).value(), 7);
    EXPECT_EQ(not_done().and_then(seven).error().code(), EBUSY);
    EXPECT_TRUE(seven().and_then([](int) { return done(); }));
}

TEST(Result, MovesItsValueIntoTheNextStep) {
    auto result = Result<std::unique_ptr<int>>(std::make_unique<int>(7))
                      .and_then([](std::unique_ptr<int> value) -> Result<std::unique_ptr<int>> {
                          ++*value;
                          return value;
                      })
                      .transform([](std::unique_ptr<int> value) { return *value; });
    EXPECT_EQ(result.value(), 8);
}

TEST(Result, TransformsAValueAndKeepsAnError) {
    EXPECT_EQ(seven().transform([](int value) { return std::to_string(value); }).value(), "7");
    EXPECT_EQ(no_int().transform([](int value) { return value + 1; }).error().what(), busy().what());
    EXPECT_EQ(done().transform([] { return 3; }).value(), 3);
    EXPECT_EQ(not_done().transform([] { return 3; }).error().code(), EBUSY);
}

TEST(Result, TransformsIntoNothing) {
    int seen = 0;
    const Result<void> after = seven().transform([&](int value) { seen = value; });
    EXPECT_TRUE(after);
    EXPECT_EQ(seen, 7);
    EXPECT_TRUE(done().transform([&] { seen = 8; }));
    EXPECT_EQ(seen, 8);
    EXPECT_FALSE(not_done().transform([&] { seen = 9; }));
    EXPECT_EQ(seen, 8);
}

TEST(Result, TakesAnotherWayOnlyAfterAnError) {
    const auto other = [](const Error& error) -> Result<int> { return error.code(); };
    EXPECT_EQ(seven().or_else(other).value(), 7);
    EXPECT_EQ(no_int().or_else(other).value(), EBUSY);
    EXPECT_EQ(no_int()
                  .or_else([](const Error& error) -> Result<int> { return error.within("cannot stop"); })
                  .error()
                  .what(),
              "cannot stop: cannot destroy ioas 1");
    EXPECT_TRUE(not_done().or_else([](const Error&) { return done(); }));
}

}  // namespace
}  // namespace iommufd
