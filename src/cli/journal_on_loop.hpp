// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include "cli/journal.hpp"

namespace iommufd::inline v0_1::cli {

// A journal that tells what it left out when a period is over, as long as the loop runs, and the rest when it goes.
class JournalOnLoop {
public:
    explicit JournalOnLoop(asio::io_context& loop)
        : timer_(loop),
          journal_({.write = {}, .clock = {}, .wake = [this](Journal::Time when) { wake(when); }}) {}
    ~JournalOnLoop() { journal_.finish(); }
    JournalOnLoop(const JournalOnLoop&) = delete;
    JournalOnLoop& operator=(const JournalOnLoop&) = delete;

    Journal& operator*() noexcept { return journal_; }
    Journal* operator->() noexcept { return &journal_; }

private:
    void wake(Journal::Time when) {
        timer_.expires_at(when);
        timer_.async_wait([this](const asio::error_code& error) {
            if (!error) journal_.tell_left_out();
        });
    }

    asio::steady_timer timer_;
    Journal journal_;
};

}  // namespace iommufd::inline v0_1::cli
