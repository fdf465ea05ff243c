// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/error/error.hpp"

#include <gmock/gmock.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "error/guarded.hpp"

namespace iommufd {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

static_assert(sizeof(Error) == sizeof(void*));
static_assert(std::is_nothrow_copy_constructible_v<Error>);
static_assert(std::is_nothrow_move_constructible_v<Error>);
static_assert(std::is_nothrow_copy_assignable_v<Error>);

Error map_error() { return Error(Operation::ioas_map, ENOMEM, "cannot map 0x1000+0x2000 into ioas 3"); }

TEST(Error, ALineStaysOneWhateverIsNamedInIt) {
    const Error error = Error::refused(ENOENT, "cannot open '/tmp/a\nb'", "\x1b[31mred\x7f", "");
    EXPECT_EQ(error.line(), R"(cannot open '/tmp/a\x0ab': ENOENT (\x1b[31mred\x7f))");
}

TEST(Error, StaysTheSameWithACauseThatSomebodyKnows) {
    const Error error = map_error().because("the limit is 1 MiB", "raise it");
    EXPECT_EQ(error.operation(), Operation::ioas_map);
    EXPECT_EQ(error.line(), "cannot map 0x1000+0x2000 into ioas 3: ENOMEM (the limit is 1 MiB); raise it");
}

TEST(Error, KeepsErrnoOperationAndSentence) {
    const Error error = map_error();
    EXPECT_EQ(error.code(), ENOMEM);
    EXPECT_EQ(error.operation(), Operation::ioas_map);
    EXPECT_EQ(error.what(), "cannot map 0x1000+0x2000 into ioas 3");
}

TEST(Error, TakesCauseAndNextStepFromTheTable) {
    const Error error = map_error();
    EXPECT_EQ(error.cause(), explain(Operation::ioas_map, ENOMEM).cause);
    EXPECT_EQ(error.next_step(), explain(Operation::ioas_map, ENOMEM).next_step);
    EXPECT_THAT(error.cause(), Not(IsEmpty()));
}

TEST(Error, WritesThreeLinesOfText) {
    const Error error = map_error();
    EXPECT_EQ(error.text(), "cannot map 0x1000+0x2000 into ioas 3: ENOMEM\n  " + std::string(error.cause()) +
                                "\n  " + std::string(error.next_step()));
}

TEST(Error, WritesOneLine) {
    const Error error = map_error();
    EXPECT_EQ(error.line(), "cannot map 0x1000+0x2000 into ioas 3: ENOMEM (" + std::string(error.cause()) +
                                "); " + std::string(error.next_step()));
    EXPECT_THAT(error.line(), Not(HasSubstr("\n")));
}

TEST(Error, SharesItsWordsAmongCopies) {
    const Error error = map_error();
    const Error copy = error;  // NOLINT(performance-unnecessary-copy-initialization)
    EXPECT_EQ(copy.what().data(), error.what().data());
}

TEST(Error, OutlivesTheErrorItWasCopiedFrom) {
    Error copy(Operation::none, 0);
    {
        const Error error = map_error();
        copy = error;
    }
    EXPECT_EQ(copy.what(), "cannot map 0x1000+0x2000 into ioas 3");
}

TEST(Error, SurvivesAssignmentToItself) {
    Error error = map_error();
    const Error& same = error;
    error = same;
    EXPECT_EQ(error.code(), ENOMEM);
    EXPECT_EQ(error.what(), "cannot map 0x1000+0x2000 into ioas 3");
}

TEST(Error, IsMovedWithItsWords) {
    Error error = map_error();
    const char* const words = error.what().data();
    const Error moved = std::move(error);
    EXPECT_EQ(moved.what().data(), words);
    EXPECT_EQ(error.code(), 0);  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move)
}

TEST(Error, CanBeCopiedAndDroppedInSeveralThreads) {
    const Error error = map_error();
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([copy = error] {
            for (int n = 0; n < 1000; ++n) {
                const Error another = copy;  // NOLINT(performance-unnecessary-copy-initialization)
                ASSERT_EQ(another.code(), ENOMEM);
            }
        });
    threads.clear();
    EXPECT_EQ(error.what(), "cannot map 0x1000+0x2000 into ioas 3");
}

TEST(Error, KeepsErrnoAndOperationWithoutWords) {
    for (const Operation operation : {Operation::none, Operation::ioas_map, Operation::iotlb_batch})
        for (const int code : {0, EPERM, ENOMEM, 524, 4095}) {
            const Error bare(operation, code);
            const Error copy = bare;  // NOLINT(performance-unnecessary-copy-initialization)
            EXPECT_EQ(copy.code(), code);
            EXPECT_EQ(copy.operation(), operation);
        }
}

TEST(Error, ExplainsItselfWithoutWords) {
    const Error bare(Operation::ioas_map, ENOMEM);
    EXPECT_EQ(bare.what(), "IOMMU_IOAS_MAP");
    EXPECT_EQ(bare.cause(), map_error().cause());
    EXPECT_THAT(bare.text(), StartsWith("IOMMU_IOAS_MAP: ENOMEM\n  "));
}

TEST(Error, SaysWhyTheLibraryRefusedAndNotWhatTheTableHas) {
    const Error error = Error::refused(EBUSY, "cannot delete 'iommufd0'", "2 devices use it", "detach them");
    EXPECT_EQ(error.operation(), Operation::none);
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_EQ(error.line(), "cannot delete 'iommufd0': EBUSY (2 devices use it); detach them");
}

TEST(Error, LeavesOutANextStepThatARefusalDoesNotHave) {
    const Error error = Error::refused(EBUSY, "cannot delete 'iommufd0'", "2 devices use it", "");
    EXPECT_EQ(error.text(), "cannot delete 'iommufd0': EBUSY\n  2 devices use it");
    EXPECT_EQ(error.line(), "cannot delete 'iommufd0': EBUSY (2 devices use it)");
}

TEST(Error, PutsItsSentenceIntoAWiderOne) {
    const Error error = map_error().within("cannot start 'vm1'");
    EXPECT_EQ(error.what(), "cannot start 'vm1': cannot map 0x1000+0x2000 into ioas 3");
    EXPECT_EQ(error.code(), ENOMEM);
    EXPECT_EQ(error.operation(), Operation::ioas_map);
    EXPECT_EQ(error.cause(), map_error().cause());
}

TEST(Error, KeepsTheReasonOfARefusalInAWiderSentence) {
    const Error error =
        Error::refused(EINVAL, "cannot map", "the size is zero", "give a size").within("cannot start 'vm1'");
    EXPECT_EQ(error.line(), "cannot start 'vm1': cannot map: EINVAL (the size is zero); give a size");
}

TEST(Error, GetsASentenceFromAWiderOneWhereItHadNone) {
    EXPECT_EQ(Error(Operation::destroy, EBUSY).within("cannot close 'iommufd0'").what(),
              "cannot close 'iommufd0': IOMMU_DESTROY");
}

TEST(Error, NamesAnErrnoThatHasNoName) {
    EXPECT_EQ(errno_name(ENOMEM), "ENOMEM");
    EXPECT_EQ(errno_name(4711), "errno 4711");
    EXPECT_THAT(Error(Operation::vdpa_open, 524, "cannot open").text(),
                StartsWith("cannot open: errno 524\n"));
}

TEST(Failure, SaysTheWholeText) {
    const Failure failure(map_error());
    EXPECT_EQ(failure.what(), map_error().text());
    EXPECT_EQ(failure.error().code(), ENOMEM);
}

TEST(Guarded, TurnsABadAllocIntoEnomemOfTheOperation) {
    const Result<int> result =
        guarded(Operation::ioas_alloc, []() -> Result<int> { throw std::bad_alloc(); });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), ENOMEM);
    EXPECT_EQ(result.error().operation(), Operation::ioas_alloc);
}

TEST(Guarded, LeavesAResultAsItIs) {
    EXPECT_EQ(*guarded(Operation::ioas_alloc, []() -> Result<int> { return 3; }), 3);
}

TEST(Failed, ComposesItsSentence) {
    EXPECT_THAT(failed(Operation::destroy, EBUSY, [] { return std::string("cannot destroy ioas 1"); }).line(),
                StartsWith("cannot destroy ioas 1: EBUSY ("));
}

TEST(Failed, DoesWithoutTheSentenceWhenThereIsNoMemoryForIt) {
    const Error error = failed(Operation::destroy, EBUSY, []() -> std::string { throw std::bad_alloc(); });
    EXPECT_EQ(error.code(), EBUSY);
    EXPECT_EQ(error.operation(), Operation::destroy);
    EXPECT_THAT(error.what(), EndsWith("IOMMU_DESTROY"));
}

}  // namespace
}  // namespace iommufd
