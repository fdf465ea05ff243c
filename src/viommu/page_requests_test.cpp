// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/page_requests.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "iommufd/model/machine.hpp"
#include "viommu/testing.hpp"

namespace iommufd::viommu {
namespace {

using core::Response;
using ::testing::ElementsAre;
using testing::GuestKernel;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PageRequestsTest : public ::testing::Test {
protected:
    std::vector<std::uint64_t> addresses(const Group& group) {
        std::vector<std::uint64_t> found;
        for (const core::PageFault& fault : group.faults()) found.push_back(fault.address);
        return found;
    }
    std::vector<std::uint32_t> answered() {
        std::vector<std::uint32_t> codes;
        for (const auto& answer : kernel_.answers) codes.push_back(answer.code);
        return codes;
    }

    model::Machine machine_;
    GuestKernel kernel_{machine_.kernel()};
    std::optional<core::Context> context_ =
        core::Context::open({.label = "iommufd0", .report = {}, .kernel = &kernel_}).value();
    std::optional<PageRequests> requests_ =
        PageRequests::alloc(*context_, {.label = "faults", .room = 4}).value();
};

TEST_F(PageRequestsTest, AllFaultsUpToTheLastAreOneGroupWithOneAnswer) {
    kernel_.request(7, {0x3000, 0x2000, 0x1000}, 5);
    kernel_.request(8, {0x9000});
    auto groups = requests_->read().value();
    ASSERT_THAT(groups, SizeIs(2));
    EXPECT_THAT(addresses(groups[0]), ElementsAre(0x3000U, 0x2000U, 0x1000U));
    EXPECT_EQ(groups[0].device(), DeviceId{7});
    EXPECT_EQ(groups[0].pasid(), 5U);
    EXPECT_FALSE(groups[1].pasid());
    const auto unanswered = requests_->unanswered();
    ASSERT_THAT(unanswered, SizeIs(2));
    EXPECT_EQ(unanswered[0].pages, 3U);
    EXPECT_EQ(unanswered[0].pasid, 5U);
    EXPECT_EQ(unanswered[1].device, DeviceId{8});
    EXPECT_EQ(unanswered[1].address, 0x9000U);

    EXPECT_TRUE(std::move(groups[0]).answer(Response::success).value());
    groups.clear();
    EXPECT_THAT(answered(), ElementsAre(0U, 1U));
    EXPECT_THAT(requests_->unanswered(), IsEmpty());
}

TEST_F(PageRequestsTest, WhatDoesNotFitIsReadNextAndAGroupThatNeverFitsGetsMoreRoom) {
    kernel_.request(1, {1, 2, 3});
    kernel_.request(1, {4, 5});
    EXPECT_THAT(requests_->read().value(), SizeIs(1));
    EXPECT_THAT(requests_->read().value(), SizeIs(1));
    kernel_.request(1, {1, 2, 3, 4, 5, 6, 7, 8, 9});
    const auto large = requests_->read().value();
    ASSERT_THAT(large, SizeIs(1));
    EXPECT_THAT(large[0].faults(), SizeIs(9));
}

TEST_F(PageRequestsTest, AHandlerThatFailsLeavesNoDeviceWaiting) {
    kernel_.request(1, {1});
    kernel_.request(1, {2});
    const auto handle = [&] {
        const auto groups = requests_->read().value();
        if (groups.size() == 2) throw std::runtime_error("handler");
    };
    EXPECT_THROW(handle(), std::runtime_error);
    EXPECT_THAT(answered(), ElementsAre(1U, 1U));
}

TEST_F(PageRequestsTest, SeveralAnswersAreOneWriteAndGoOnBehindAGroupThatIsGone) {
    for (std::uint64_t page = 1; page <= 4; ++page) kernel_.request(1, {page});
    auto groups = requests_->read().value();
    ASSERT_THAT(groups, SizeIs(4));
    // The second is answered past this object, as the kernel does it.
    ASSERT_TRUE(requests_->queue().respond(groups[1].cookie(), Response::invalid));
    kernel_.writes.clear();
    EXPECT_EQ(requests_->answer(groups, Response::success).value(), 3U);
    EXPECT_THAT(kernel_.writes, ElementsAre(4U, 3U, 2U));
    EXPECT_THAT(answered(), ElementsAre(1U, 0U, 0U, 0U));
    EXPECT_THAT(requests_->unanswered(), IsEmpty());
    groups.clear();
    EXPECT_THAT(answered(), SizeIs(4));
}

TEST_F(PageRequestsTest, AMoreThanFullWriteIsGivenInParts) {
    auto wide = PageRequests::alloc(*context_, {.room = 100}).value();
    for (std::uint64_t page = 0; page < 70; ++page) kernel_.request(1, {page});
    auto groups = wide.read().value();
    ASSERT_THAT(groups, SizeIs(70));
    EXPECT_EQ(wide.answer(groups, Response::success).value(), 70U);
    EXPECT_THAT(kernel_.writes, ElementsAre(32U, 32U, 6U));
}

TEST_F(PageRequestsTest, ALateAnswerIsNotGivenToTheNextGroupOfThatNumber) {
    kernel_.request(1, {1});
    auto old = requests_->read().value();
    kernel_.answer_all();
    kernel_.request(1, {2});
    auto young = requests_->read().value();
    ASSERT_EQ(young[0].cookie(), old[0].cookie());
    EXPECT_FALSE(std::move(old[0]).answer(Response::invalid).value());
    old.clear();
    EXPECT_THAT(kernel_.answers, IsEmpty());
    EXPECT_TRUE(std::move(young[0]).answer(Response::success).value());
    EXPECT_THAT(answered(), ElementsAre(0U));
}

TEST_F(PageRequestsTest, AnAnswerThatFailsMayBeGivenAgain) {
    kernel_.request(1, {1});
    auto groups = requests_->read().value();
    kernel_.fail_respond = EIO;
    EXPECT_EQ(std::move(groups[0]).answer(Response::success).error().code(), EIO);
    EXPECT_THAT(requests_->unanswered(), SizeIs(1));
    EXPECT_TRUE(std::move(groups[0]).answer(Response::success).value());
}

TEST_F(PageRequestsTest, AGroupThatCouldNotBeAnsweredWhenItWentIsReportedListedAndTriedAgain) {
    kernel_.request(1, {1});
    kernel_.fail_respond = EIO;
    (void)requests_->read().value();
    EXPECT_EQ(context_->notices(), 1U);
    EXPECT_THAT(requests_->unanswered(), SizeIs(1));
    EXPECT_THAT(requests_->read().value(), IsEmpty());
    EXPECT_THAT(answered(), ElementsAre(1U));
    EXPECT_THAT(requests_->unanswered(), IsEmpty());
}

TEST_F(PageRequestsTest, AGroupIsMovedAndOneThatIsOverwrittenIsAnswered) {
    kernel_.request(1, {1});
    kernel_.request(1, {2});
    auto groups = requests_->read().value();
    groups[0] = std::move(groups[1]);
    EXPECT_THAT(answered(), ElementsAre(1U));
    EXPECT_EQ(addresses(groups[0]), std::vector<std::uint64_t>{2});
    EXPECT_TRUE(std::move(groups[0]).answer(Response::success).value());
}

TEST_F(PageRequestsTest, TheQueueStaysAsLongAsAGroupNeedsIt) {
    kernel_.request(1, {1});
    auto groups = requests_->read().value();
    const auto busy = std::move(*requests_).destroy();
    EXPECT_EQ(busy.error().text(),
              "cannot destroy fault queue 4711 ('faults') of 'iommufd0': EBUSY\n"
              "  1 group of page requests waits for an answer\n"
              "  answer them, or let them go");
    requests_.reset();
    context_.reset();
    EXPECT_TRUE(std::move(groups[0]).answer(Response::success).value());
    groups.clear();
    EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
}

}  // namespace
}  // namespace iommufd::viommu
