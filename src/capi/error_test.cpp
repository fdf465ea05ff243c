// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <cerrno>
#include <cstring>
#include <thread>

#include "capi/call.hpp"
#include "capi/testing.hpp"
#include "error/operations.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

TEST(CapiErrorTest, BeforeTheFirstFailureOfAThreadThereIsNoText) {
    std::thread([] {
        EXPECT_STREQ(iommufd_error_text(), "");
        EXPECT_STREQ(iommufd_error_what(), "");
        EXPECT_STREQ(iommufd_error_operation(), "");
    }).join();
}

TEST(CapiErrorTest, TheLastFailureOfEachThreadIsKeptForIt) {
    EXPECT_EQ(iommufd_open_fd(-1, nullptr, nullptr), -EBADF);
    const std::string mine = iommufd_error_text();
    std::thread([] {
        EXPECT_EQ(iommufd_open(nullptr, nullptr), -EINVAL);
        EXPECT_STREQ(iommufd_error_what(), "cannot do without the pointer to the object");
        EXPECT_STREQ(iommufd_error_cause(), "it is NULL");
        EXPECT_STREQ(iommufd_error_next_step(), "make it first");
        EXPECT_STREQ(iommufd_error_operation(), "refused");
    }).join();
    EXPECT_EQ(iommufd_error_text(), mine);
    EXPECT_EQ(mine.substr(0, mine.find('\n')), "cannot open the iommufd: EBADF");
}

TEST(CapiErrorTest, ExplainSaysWhatTheTableSays) {
    const char* cause = nullptr;
    const char* next_step = nullptr;
    ASSERT_EQ(iommufd_explain("IOMMU_IOAS_MAP", ENOMEM, &cause, &next_step), 0);
    EXPECT_EQ(cause, explain(Operation::ioas_map, ENOMEM).cause);
    ASSERT_EQ(iommufd_explain("IOMMU_IOAS_MAP", -ENOMEM, &cause, &next_step), 0);
    EXPECT_EQ(next_step, explain(Operation::ioas_map, ENOMEM).next_step);
    EXPECT_EQ(iommufd_explain("IOMMU_IOAS_MOP", ENOMEM, &cause, &next_step), -ENOENT);
    EXPECT_EQ(iommufd_explain(nullptr, ENOMEM, &cause, &next_step), -EINVAL);
}

// C takes them for strings.
TEST(CapiErrorTest, WhatTheTableHasEndsInANul) {
    for (const OperationFacts& facts : kOperations) {
        EXPECT_EQ(std::strlen(facts.name.data()), facts.name.size());
        for (int code = 1; code <= 4095; ++code) {
            const Explanation explanation = explain(facts.operation, code);
            ASSERT_EQ(std::strlen(explanation.cause.data()), explanation.cause.size());
            ASSERT_EQ(std::strlen(explanation.next_step.data()), explanation.next_step.size());
        }
    }
}

TEST(CapiErrorTest, AnOptionThatIsNewerThanTheLibraryIsRefusedUnlessItIsNotSet) {
    struct {
        iommufd_memory_options known;
        std::uint64_t newer;
    } options{{.size = sizeof options, .label = nullptr}, 0};
    OwnedMemory memory;
    EXPECT_EQ(iommufd_memory_memfd(4096, &options.known, &memory), 0);
    options.newer = 1;
    OwnedMemory other;
    EXPECT_EQ(iommufd_memory_memfd(4096, &options.known, &other), -E2BIG);
    options.known.size = 4;
    EXPECT_EQ(iommufd_memory_memfd(4096, &options.known, &other), -EINVAL);
}

TEST(CapiErrorTest, AnAnswerIsAsLongAsItsReaderKnowsAndZeroBeyondTheWriter) {
    struct {
        iommufd_counters known;
        std::uint64_t newer;
    } longer{{.size = sizeof longer}, 7};
    EXPECT_TRUE(answer(&longer.known, iommufd_counters{.size = 0, .mapped = 5, .unmapped = 6}));
    EXPECT_EQ(longer.known.mapped, 5U);
    EXPECT_EQ(longer.known.unmapped, 6U);
    EXPECT_EQ(longer.newer, 0U);

    iommufd_counters shorter{.size = offsetof(iommufd_counters, pinned), .pinned = 9};
    EXPECT_TRUE(answer(&shorter, iommufd_counters{.size = 0, .mapped = 5, .pinned = 6}));
    EXPECT_EQ(shorter.mapped, 5U);
    EXPECT_EQ(shorter.pinned, 9U);
    EXPECT_EQ(shorter.size, offsetof(iommufd_counters, pinned));

    shorter.size = 0;
    EXPECT_EQ(answer(&shorter, iommufd_counters{}).error().code(), EINVAL);
    EXPECT_EQ(answer<iommufd_counters>(nullptr, {}).error().code(), EINVAL);
}

TEST(CapiErrorTest, TextIsCutOffWhereThereIsNoRoomAndItsLengthIsTold) {
    char text[4] = "???";
    EXPECT_EQ(*write_text("abcdef", text, sizeof text), 6);
    EXPECT_STREQ(text, "abc");
    EXPECT_EQ(*write_text("abcdef", nullptr, 0), 6);
    EXPECT_EQ(write_text("abcdef", nullptr, 4).error().code(), EINVAL);
}

// As the model's library of another version would give it.
TEST(CapiErrorTest, AKernelOfAnotherVersionIsRefused) {
    iommufd_kernel other{};
    std::memcpy(other.abi, "v0_0", 5);
    const iommufd_options options{.size = sizeof options, .id = nullptr, .path = nullptr, .kernel = &other};
    OwnedObject object;
    EXPECT_EQ(iommufd_open(&options, &object), -EINVAL);
    EXPECT_NE(std::string(iommufd_error_cause()).find("another version"), std::string::npos);
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi
