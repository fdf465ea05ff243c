// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The tokens of a stream of JSON, byte by byte, as QEMU's monitor takes it: strings may stand between apostrophes, and after
// what is no token all is skipped up to a control character or one of {}[]:, .
#pragma once

#include <cstdint>
#include <string>

namespace iommufd::inline v0_1::monitor {

enum class TokenKind : std::uint8_t {
    open_object,
    close_object,
    open_array,
    close_array,
    comma,
    colon,
    string,  // with its quotes, not yet decoded
    integer,
    fraction,
    word,   // null, true, false, or another one
    stray,  // what is no token, up to the byte that showed it
};

class Lexer {
public:
    // Calls take(kind, text) with each token that ends with this byte, or just before it: two at most. The text may be moved from.
    template <class Take>
    void feed(char byte, Take&& take);

    // Of the token that has begun.
    std::size_t pending() const noexcept { return text_.size(); }
    // Forgets that one.
    void reset() noexcept {
        text_.clear();
        state_ = State::start;
    }

private:
    enum class State : std::uint8_t {
        start,
        string,
        escape,
        minus,
        zero,
        digits,
        point,
        decimals,
        exponent,
        exponent_sign,
        exponent_digits,
        word,
        skipping,
    };
    enum class Step : std::uint8_t {
        more,         // the byte belongs to the token
        ends_with,    // it is its last one
        ends_before,  // the token is complete without it
        nothing,      // it belongs to none
        restart,      // it is looked at again, from the start
        wrong,
    };

    Step step(char byte) noexcept;
    Step begin(char byte) noexcept;
    Step go_on(State next) noexcept {
        state_ = next;
        return Step::more;
    }
    Step complete(TokenKind kind, Step how) noexcept {
        kind_ = kind;
        return how;
    }

    State state_ = State::start;
    TokenKind kind_ = TokenKind::stray;  // of a token that step() has completed
    char quote_ = '"';
    std::string text_;
};

template <class Take>
void Lexer::feed(char byte, Take&& take) {
    for (bool again = true; again;) {
        const Step what = step(byte);
        again = what == Step::ends_before || what == Step::restart;
        if (what == Step::more || what == Step::ends_with || what == Step::wrong) text_ += byte;
        if (what == Step::more || what == Step::nothing) continue;
        state_ = what == Step::wrong ? State::skipping : State::start;
        if (what != Step::restart) take(what == Step::wrong ? TokenKind::stray : kind_, text_);
        text_.clear();
    }
}

}  // namespace iommufd::inline v0_1::monitor
