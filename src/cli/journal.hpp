// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a broker writes down: a line for each hand-over, refusal and return, with the level that systemd's journal knows.
//
// Whoever makes it write the same over and over doesn't fill the journal: of one tenant (or of a user who is in no tenant) there are
// kMostLines of one sort in kPeriod, then one with the count of the others. Sorts are limited apart, so that no flood hides another's
// line: what is given, refused or returned, and mappings apart from descriptors.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "broker/broker.hpp"
#include "monitor/rate_limit.hpp"

namespace iommufd::inline v0_1::cli {

class Journal {
public:
    using Time = monitor::RateLimit::Time;
    enum class Level : std::uint8_t { error, warning, info };
    using Write = std::function<void(Level level, std::string_view line)>;

    static constexpr std::uint64_t kMostLines = 20;
    static constexpr std::chrono::seconds kPeriod{10};
    static constexpr std::size_t kMostParties = 1024;  // that are limited apart; others then together

    struct Options {
        Write write = {};                          // nothing: to_stderr()
        std::function<Time()> clock = {};          // nothing: the system's
        std::function<void(Time when)> wake = {};  // then tell_left_out() is to be called, once
    };
    explicit Journal(Options options);

    void tell(const broker::Record& record);
    // Something else, whatever there was before.
    void say(Level level, std::string_view line) { options_.write(level, line); }
    // The counts of periods that have ended.
    void tell_left_out();
    // All counts.
    void finish();

private:
    // Whose lines, and of which sort: "given a mapping to".
    using Key = std::pair<std::string, std::string_view>;
    struct Limited {
        monitor::RateLimit limit{kMostLines, kPeriod};
        Level level;
    };

    Time now() const { return options_.clock(); }
    Limited& limit_of(Key key, Level level);
    void tell(const Key& key, const Limited& limited, std::uint64_t count) const;

    Options options_;
    std::map<Key, Limited> limits_;
    bool is_woken_ = false;
};

// A writer to standard error: each line begins with its level ("<4>") where that is systemd's journal ($JOURNAL_STREAM).
Journal::Write to_stderr();

}  // namespace iommufd::inline v0_1::cli
