// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/session.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "support/allocation_faults.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

class Failures final : public AllocationFailures {
public:
    void arm(std::uint64_t n) override {
        n_ = n;
        armed_.emplace(n);
    }
    std::uint64_t disarm() override {
        const std::uint64_t left = n_ - std::min(n_, armed_->count());
        armed_.reset();
        return left;
    }

private:
    std::uint64_t n_ = 0;
    std::optional<AllocationFaults::Armed> armed_;
};

Outcome run_on(const model::Description& machine, const std::vector<std::string>& words) {
    Failures failures;
    auto outcome = run(machine, words, {.failures = &failures});
    EXPECT_TRUE(outcome) << outcome.error().line();
    return outcome ? *outcome : Outcome{.status = -1};
}

Outcome run_client(const std::string& scenario, const char* program = IOMMUFD_INTERCEPT_CLIENT) {
    return run_on(model::everything(), {program, scenario});
}

Outcome run_on_mock(const std::string& scenario) {
    model::Description machine;
    machine.mock = true;
    return run_on(machine, {IOMMUFD_INTERCEPT_CLIENT, scenario});
}

class SupervisedProgram : public testing::TestWithParam<const char*> {
protected:
    static void succeeds(const std::string& scenario, std::uint64_t blocked = 0) {
        const Outcome outcome = run_client(scenario, GetParam());
        EXPECT_EQ(outcome.status, 0);
        EXPECT_EQ(outcome.not_started, 0);
        EXPECT_EQ(outcome.left.text(), "nothing");
        EXPECT_EQ(outcome.blocked_dma, blocked);
    }
};

TEST_P(SupervisedProgram, MapsAndUnmapsInAnIommufd) { succeeds("maps"); }
TEST_P(SupervisedProgram, KeepsItsDescriptorsThroughDupForkAndExec) { succeeds("inherits"); }
TEST_P(SupervisedProgram, SendsADescriptorToAnother) { succeeds("travels"); }
TEST_P(SupervisedProgram, FindsADeviceAsQemuDoes) { succeeds("finds"); }
TEST_P(SupervisedProgram, WalksTheTreeOfDevices) { succeeds("walks"); }
TEST_P(SupervisedProgram, IsRefusedWhatLinuxRefuses) { succeeds("refuses"); }
TEST_P(SupervisedProgram, DrivesADeviceThatMovesItsMemory) { succeeds("drives", 2); }
TEST_P(SupervisedProgram, MapsItsMemoryAfterItHasBecomeAnother) { succeeds("becomes_another", 1); }
TEST_P(SupervisedProgram, HasItsOwnMemoryWhereItStartedInItsParents) { succeeds("lends_its_memory"); }
TEST_P(SupervisedProgram, MapsItsMemoryAfterItsFirstThreadHasEnded) { succeeds("outlives_its_first_thread"); }
TEST_P(SupervisedProgram, ReachesNothingByMemoryThatItHasUnmapped) { succeeds("unmaps_too_early", 2); }

INSTANTIATE_TEST_SUITE_P(Linked, SupervisedProgram,
                         testing::Values(IOMMUFD_INTERCEPT_CLIENT, IOMMUFD_INTERCEPT_STATIC_CLIENT),
                         [](const auto& tested) { return tested.index == 0 ? "Dynamically" : "Statically"; });

TEST(SupervisedSession, EndsWhereLinuxWouldWaitForTheNextCallForEver) {
    const auto outcome = run(model::everything(), {IOMMUFD_INTERCEPT_CLIENT, "maps"}, {.polls = true});
    ASSERT_TRUE(outcome) << outcome.error().line();
    EXPECT_EQ(outcome->status, 0);
    EXPECT_EQ(outcome->left.text(), "nothing");
}

TEST(SupervisedSession, ADeviceIsFreeAsSoonAsItsLastDescriptorIsGone) {
    const Outcome outcome = run_client("lets_go");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.mappings, 0U);
}

TEST(SupervisedSession, WhatIsPinnedStandsInTheStatusOfItsProcess) {
    const Outcome outcome = run_client("pins");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "nothing");
}

TEST(SupervisedSession, PinsOfFilesCountForTheProcessThatTookThemOver) {
    const Outcome outcome = run_client("hands_over");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "nothing");
}

TEST(SupervisedSession, SharedMemoryOfAProcessThatHasEndedIsStillReachedWhereItCanBeHeld) {
    const std::filesystem::directory_iterator maps("/proc/self/map_files");
    const bool held = ::access(maps->path().c_str(), F_OK) == 0;
    const Outcome outcome =
        run_on(model::everything(), {IOMMUFD_INTERCEPT_CLIENT, "outlives", held ? "held" : "gone"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.blocked_dma, held ? 0U : 2U);
}

TEST(SupervisedSession, TheMemoryOfACardIsMapped) {
    const Outcome outcome =
        run_on({.devices = {{.kind = model::DeviceKind::ivshmem, .memory_size = 1U << 20}}},
               {IOMMUFD_INTERCEPT_CLIENT, "maps_memory_of_a_card"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "nothing");
}

TEST(SupervisedSession, AMemfdIsAsTheKernelMakesItAndIsReachedAfterWhoMappedItHasEnded) {
    const Outcome outcome = run_client("outlives_in_a_file");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "nothing");
    EXPECT_EQ(outcome.blocked_dma, 0U);
}

TEST(SupervisedSession, RegistersOfAViommuAreMappedAndKeepIt) {
    const Outcome outcome = run_on_mock("maps_registers");
    EXPECT_EQ(outcome.status, 0);
}

TEST(SupervisedSession, AReadThatIsTooShortForAnEventIsEinval) {
    EXPECT_EQ(run_on_mock("reads_events").status, 0);
}

TEST(SupervisedSession, AProgramLetsItsNthAllocationFail) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "allocations can't be failed under this sanitizer";
    EXPECT_EQ(run_on_mock("fails_allocations").status, 0);
}

TEST(SupervisedSession, ABadPointerIsEfaultAndNothingElse) {
    EXPECT_EQ(run_client("bad_pointers").status, 0);
}

TEST(SupervisedSession, TellsWhatAProgramHasNotGivenBack) {
    const Outcome outcome = run_client("forgets");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "1 object, 1 mapping");
}

TEST(SupervisedSession, EndsWithTheStatusOfItsProgram) {
    EXPECT_EQ(run(model::everything(), {"sh", "-c", "exit 7"})->status, 7);
    EXPECT_EQ(run(model::everything(), {"sh", "-c", "kill -TERM $$"})->status, 128 + 15);
    EXPECT_EQ(run(model::everything(), {"/nonexistent/program"})->not_started, ENOENT);
    EXPECT_EQ(run(model::everything(), {"/dev/null"})->not_started, EACCES);
}

TEST(SupervisedSession, LastsUntilTheLastOrphanHasEnded) {
    const std::string sign = testing::TempDir() + "the_orphan_was_here";
    std::filesystem::remove(sign);
    EXPECT_EQ(
        run(model::everything(), {"sh", "-c", "(sleep 0.2; test -c /dev/iommu && : > " + sign + ") & exit 3"})
            ->status,
        3);
    EXPECT_TRUE(std::filesystem::remove(sign));
}

// What a hostile program can try: it gets its answers, and so does the next one.
TEST(SupervisedAttack, MemoryThatChangesDuringACallConfusesNobody) {
    const Outcome outcome = run_client("changes_memory");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "nothing");
}

TEST(SupervisedAttack, DescriptorsThatChangeDuringACallConfuseNobody) {
    EXPECT_EQ(run_client("changes_descriptors").status, 0);
}

TEST(SupervisedAttack, NothingOfTheSupervisorCanBeNamed) {
    const Outcome outcome = run_client("names_what_is_not_its_own");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.left.text(), "nothing");
}

TEST(SupervisedAttack, MemoryOfAProgramThatBecameAnotherIsOutOfReach) {
    const Outcome outcome = run_client("becomes_another");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.blocked_dma, 1U);
}

TEST(SupervisedAttack, AProgramKilledAtAnyMomentLeavesNothing) {
    EXPECT_EQ(run_client("is_killed").status, 0);
}

TEST(SupervisedAttack, AProgramThatMayNotBeLookedAtHasItsMachinesOwnFiles) {
    EXPECT_EQ(run_client("hides").status, 0);
}

TEST(SupervisedAttack, ManyThreadsAreServedInTurn) { EXPECT_EQ(run_client("comes_in_crowds").status, 0); }

TEST(SupervisedSession, LeavesNoFilesBehind) {
    // Other tests have theirs in the usual place meanwhile.
    std::string folder = testing::TempDir() + "intercept_testXXXXXX";
    ASSERT_TRUE(::mkdtemp(folder.data()));
    const char* const usual = std::getenv("TMPDIR");
    const std::string before = usual ? usual : "";
    ASSERT_EQ(::setenv("TMPDIR", folder.c_str(), 1), 0);
    EXPECT_EQ(run_client("maps").status, 0);
    EXPECT_TRUE(std::filesystem::is_empty(folder));
    usual ? ::setenv("TMPDIR", before.c_str(), 1) : ::unsetenv("TMPDIR");
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
