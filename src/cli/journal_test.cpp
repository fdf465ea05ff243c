// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/journal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "error/compose.hpp"

namespace iommufd::cli {
namespace {

using broker::Outcome;
using broker::Record;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Level = Journal::Level;

Record mapping_of(const std::string& tenant) {
    return {.outcome = Outcome::given,
            .what = "a mapping of 4 KiB at 0x1000",
            .who = tenant + " (uid 1000, gid 1000, process 4711)",
            .why = {},
            .party = tenant,
            .is_mapping = true};
}
Record of(Outcome outcome, const std::string& party, std::string why = {}) {
    return {
        .outcome = outcome, .what = "'0000:02:00.0'", .who = party, .why = std::move(why), .party = party};
}

class JournalTest : public ::testing::Test {
protected:
    void tell(const Record& record, std::uint64_t times = 1) {
        for (std::uint64_t i = 0; i < times; ++i) journal_.tell(record);
    }

    Journal::Time now_{std::chrono::hours(1)};
    std::vector<std::string> lines_;
    std::vector<Level> levels_;
    std::vector<Journal::Time> wakes_;
    Journal journal_{{.write =
                          [this](Level level, std::string_view line) {
                              levels_.push_back(level);
                              lines_.emplace_back(line);
                          },
                      .clock = [this] { return now_; },
                      .wake = [this](Journal::Time when) { wakes_.push_back(when); }}};
};

TEST_F(JournalTest, TellsWhatHappenedWithTheLevelThatItHas) {
    tell(of(Outcome::given, "'a'"));
    tell(of(Outcome::refused, "uid 7", "no"));
    tell(of(Outcome::returned, "'a'"));
    tell({.outcome = Outcome::tainted, .what = "0000:02:00.0", .who = {}, .why = "somebody has it"});
    tell({.outcome = Outcome::recovered, .what = "0000:02:00.0", .who = {}, .why = {}});
    EXPECT_THAT(lines_, ElementsAre("given '0000:02:00.0' to 'a'", "refused '0000:02:00.0' to uid 7: no",
                                    "returned '0000:02:00.0' by 'a'", "tainted 0000:02:00.0: somebody has it",
                                    "recovered 0000:02:00.0"));
    EXPECT_THAT(levels_, ElementsAre(Level::info, Level::warning, Level::info, Level::warning, Level::info));
}

TEST_F(JournalTest, AClientThatMapsInALoopHasSoManyLinesInAPeriodAndThenOneWithTheCount) {
    tell(mapping_of("'a'"), Journal::kMostLines + 1000);
    EXPECT_THAT(lines_, SizeIs(Journal::kMostLines));
    EXPECT_THAT(wakes_, ElementsAre(now_ + Journal::kPeriod)) << "once";
    now_ += Journal::kPeriod - std::chrono::milliseconds(1);
    tell(mapping_of("'a'"));
    EXPECT_THAT(lines_, SizeIs(Journal::kMostLines));
    now_ += std::chrono::milliseconds(1);
    journal_.tell_left_out();
    ASSERT_THAT(lines_, SizeIs(Journal::kMostLines + 1));
    EXPECT_EQ(lines_.back(),
              "left out 1001 more mappings given to 'a': there are at most 20 lines of them in 10 s");
    EXPECT_EQ(levels_.back(), Level::info);
    EXPECT_THAT(wakes_, SizeIs(1)) << "there is nothing more to tell";
    tell(mapping_of("'a'"));
    EXPECT_THAT(lines_, SizeIs(Journal::kMostLines + 2)) << "another period";
}

TEST_F(JournalTest, TheCountIsToldBeforeTheNextLineWhereNobodyWokeIt) {
    tell(mapping_of("'a'"), Journal::kMostLines + 3);
    now_ += Journal::kPeriod;
    tell(mapping_of("'a'"));
    ASSERT_THAT(lines_, SizeIs(Journal::kMostLines + 2));
    EXPECT_THAT(lines_[Journal::kMostLines], HasSubstr("left out 3 more"));
}

TEST_F(JournalTest, AFloodHidesNeitherAnothersLinesNorThoseOfAnotherSort) {
    tell(mapping_of("'a'"), 1000);
    tell(of(Outcome::refused, "'a'"), 1000);
    tell(of(Outcome::refused, "uid 7"), 1000);
    EXPECT_THAT(lines_, SizeIs(3 * Journal::kMostLines));
    lines_.clear();
    tell(mapping_of("'b'"));
    tell(of(Outcome::given, "'a'"));
    tell(of(Outcome::returned, "'a'"));
    tell({.outcome = Outcome::tainted, .what = "0000:02:00.0", .who = {}, .why = {}}, 100);
    EXPECT_THAT(lines_, SizeIs(3 + 100));
}

TEST_F(JournalTest, AllCountsAreToldAtTheEndAndOnce) {
    tell(mapping_of("'a'"), Journal::kMostLines + 2);
    tell(of(Outcome::refused, "'b'"), Journal::kMostLines + 5);
    lines_.clear();
    journal_.finish();
    EXPECT_THAT(lines_, ElementsAre(HasSubstr("left out 2 more mappings given to 'a'"),
                                    HasSubstr("left out 5 more refusals to 'b'")));
    lines_.clear();
    journal_.finish();
    EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(JournalTest, WhoComesUnderEverNewNamesIsLimitedWithTheOthersFromSomeNumberOn) {
    for (std::size_t user = 0; user < 4 * Journal::kMostParties; ++user)
        tell(of(Outcome::refused, compose("uid ", user)));
    EXPECT_THAT(lines_, SizeIs(Journal::kMostParties + Journal::kMostLines));
    now_ += Journal::kPeriod;
    lines_.clear();
    tell(of(Outcome::refused, "uid 100000"));
    EXPECT_THAT(lines_, SizeIs(1)) << "those of a period that has ended are forgotten";
    journal_.tell_left_out();
    EXPECT_THAT(lines_.back(), HasSubstr("more refusals to others"));
}

// What standard error gets of a line, with the variable.
std::string written(Level level, const char* stream) {
    int ends[2] = {-1, -1};
    if (::pipe(ends) < 0) return "no pipe";
    const int before = ::dup(STDERR_FILENO);
    (void)::dup2(ends[1], STDERR_FILENO);
    struct stat status{};
    (void)::fstat(STDERR_FILENO, &status);
    const std::string here = compose(status.st_dev, ":", status.st_ino);
    if (stream) ::setenv("JOURNAL_STREAM", *stream ? stream : here.c_str(), 1);
    to_stderr()(level, "a {} line %");
    ::unsetenv("JOURNAL_STREAM");
    (void)::dup2(before, STDERR_FILENO);
    char buffer[256];
    const ssize_t got = ::read(ends[0], buffer, sizeof buffer);
    for (const int fd : {before, ends[0], ends[1]}) (void)::close(fd);
    return {buffer, got < 0 ? 0 : static_cast<std::size_t>(got)};
}

TEST(JournalOnStandardError, BeginsWithTheLevelWhereSystemdsJournalReadsIt) {
    EXPECT_EQ(written(Level::warning, ""), "<4>iommufd: a {} line %\n");
    EXPECT_EQ(written(Level::error, ""), "<3>iommufd: a {} line %\n");
    EXPECT_EQ(written(Level::info, ""), "<6>iommufd: a {} line %\n");
    EXPECT_EQ(written(Level::warning, "8:1"), "iommufd: a {} line %\n") << "the stream is another";
    EXPECT_EQ(written(Level::warning, nullptr), "iommufd: a {} line %\n");
}

}  // namespace
}  // namespace iommufd::cli
