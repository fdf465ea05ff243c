// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How often something may be told: so many times in a period, which begins with the first; what is beyond is counted.
//
//     if (const auto count = limit.left_out(now)) tell(count);     // the period has ended
//     if (limit.takes(now)) tell(it);
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace iommufd::inline v0_1::monitor {

class RateLimit {
public:
    using Time = std::chrono::steady_clock::time_point;

    RateLimit(std::uint64_t most, std::chrono::steady_clock::duration period) noexcept
        : most_(most), period_(period) {}

    // Whether one more is told. What was left out in a period that has ended is to be asked for before.
    bool takes(Time now) noexcept {
        if (has_ended(now)) {
            begin_ = now;
            told_ = 0;
        }
        if (told_ == most_) {
            ++left_out_;
            return false;
        }
        ++told_;
        return true;
    }
    // One that could not be told.
    void lose() noexcept { ++left_out_; }

    // How many were left out, once, when the period has ended.
    std::uint64_t left_out(Time now) noexcept { return has_ended(now) ? take_left_out() : 0; }
    // The same before that.
    std::uint64_t take_left_out() noexcept { return std::exchange(left_out_, 0); }
    // When there is something to ask for; nothing: nothing was left out.
    std::optional<Time> due() const noexcept {
        return left_out_ == 0 ? std::nullopt : std::optional(begin_ + period_);
    }
    bool has_ended(Time now) const noexcept { return now - begin_ >= period_ || begin_ == Time(); }

private:
    const std::uint64_t most_;
    const std::chrono::steady_clock::duration period_;
    Time begin_{};
    std::uint64_t told_ = 0;
    std::uint64_t left_out_ = 0;
};

}  // namespace iommufd::inline v0_1::monitor
