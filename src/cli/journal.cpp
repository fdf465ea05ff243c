// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/journal.hpp"

#include <algorithm>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using broker::Outcome;

Journal::Level level_of(Outcome outcome) {
    return outcome == Outcome::refused || outcome == Outcome::tainted ? Journal::Level::warning
                                                                      : Journal::Level::info;
}

std::string_view preposition(Outcome outcome) { return outcome == Outcome::returned ? "by" : "to"; }

std::string_view sort_of(const broker::Record& record) {
    switch (record.outcome) {
        case Outcome::given:
            return record.is_mapping ? "mappings given to" : "hand-overs to";
        case Outcome::refused:
            return record.is_mapping ? "mappings refused to" : "refusals to";
        case Outcome::returned:
            return "returns by";
        case Outcome::tainted:
        case Outcome::recovered:
            break;
    }
    return "devices of";
}

std::string line_of(const broker::Record& record) {
    std::string line = compose(broker::name(record.outcome), " ", record.what);
    if (!record.who.empty()) line += compose(" ", preposition(record.outcome), " ", record.who);
    if (!record.why.empty()) line += compose(": ", record.why);
    return line;
}

}  // namespace

Journal::Journal(Options options) : options_(std::move(options)) {
    if (!options_.write) options_.write = to_stderr();
    if (!options_.clock) options_.clock = std::chrono::steady_clock::now;
}

Journal::Limited& Journal::limit_of(Key key, Level level) {
    if (limits_.size() >= kMostParties && !limits_.contains(key)) {
        std::erase_if(limits_, [&](const auto& entry) {
            return entry.second.limit.has_ended(now()) && !entry.second.limit.due();
        });
        if (limits_.size() >= kMostParties) key.first = "others";
    }
    return limits_.try_emplace(std::move(key), Limited{.level = level}).first->second;
}

void Journal::tell(const broker::Record& record) {
    const Level level = level_of(record.outcome);
    // What happens to a device is nobody's doing, and rare.
    if (record.party.empty()) return say(level, line_of(record));
    const Key key(record.party, sort_of(record));
    Limited& limited = limit_of(key, level);
    if (const std::uint64_t count = limited.limit.left_out(now())) tell(key, limited, count);
    if (limited.limit.takes(now())) return say(level, line_of(record));
    if (!std::exchange(is_woken_, true) && options_.wake) options_.wake(*limited.limit.due());
}

void Journal::tell(const Key& key, const Limited& limited, std::uint64_t count) const {
    options_.write(limited.level,
                   compose("left out ", count, " more ", key.second, " ", key.first, ": there are at most ",
                           kMostLines, " lines of them in ", kPeriod.count(), " s"));
}

void Journal::tell_left_out() {
    std::optional<Time> next;
    for (auto& [key, limited] : limits_) {
        if (const std::uint64_t count = limited.limit.left_out(now())) tell(key, limited, count);
        if (const auto due = limited.limit.due()) next = next ? std::min(*next, *due) : *due;
    }
    std::erase_if(limits_, [&](const auto& entry) { return entry.second.limit.has_ended(now()); });
    is_woken_ = next.has_value();
    if (next && options_.wake) options_.wake(*next);
}

void Journal::finish() {
    for (auto& [key, limited] : limits_)
        if (const std::uint64_t count = limited.limit.take_left_out()) tell(key, limited, count);
    limits_.clear();
}

}  // namespace iommufd::inline v0_1::cli
