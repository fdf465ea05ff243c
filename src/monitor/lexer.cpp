// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/lexer.hpp"

#include <string_view>

namespace iommufd::inline v0_1::monitor {
namespace {

bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }
bool is_small_letter(char byte) { return byte >= 'a' && byte <= 'z'; }

// Control characters, and the bytes that no UTF-8 has.
bool is_outside(char byte) {
    const auto value = static_cast<unsigned char>(byte);
    return value < 0x20 || value >= 0xFE;
}

}  // namespace

Lexer::Step Lexer::begin(char byte) noexcept {
    switch (byte) {
        case '{':
            return complete(TokenKind::open_object, Step::ends_with);
        case '}':
            return complete(TokenKind::close_object, Step::ends_with);
        case '[':
            return complete(TokenKind::open_array, Step::ends_with);
        case ']':
            return complete(TokenKind::close_array, Step::ends_with);
        case ',':
            return complete(TokenKind::comma, Step::ends_with);
        case ':':
            return complete(TokenKind::colon, Step::ends_with);
        case '"':
        case '\'':
            quote_ = byte;
            return go_on(State::string);
        case '-':
            return go_on(State::minus);
        case '0':
            return go_on(State::zero);
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            return Step::nothing;
        default:
            if (is_digit(byte)) return go_on(State::digits);
            return is_small_letter(byte) ? go_on(State::word) : Step::wrong;
    }
}

Lexer::Step Lexer::step(char byte) noexcept {
    switch (state_) {
        case State::start:
            return begin(byte);
        case State::string:
            if (byte == quote_) return complete(TokenKind::string, Step::ends_with);
            if (is_outside(byte)) return Step::wrong;
            return go_on(byte == '\\' ? State::escape : State::string);
        case State::escape:
            return is_outside(byte) ? Step::wrong : go_on(State::string);
        case State::minus:
            if (byte == '0') return go_on(State::zero);
            return is_digit(byte) ? go_on(State::digits) : Step::wrong;
        case State::zero:
            if (is_digit(byte)) return Step::wrong;
            if (byte == '.') return go_on(State::point);
            return complete(TokenKind::integer, Step::ends_before);
        case State::digits:
            if (is_digit(byte)) return Step::more;
            if (byte == '.') return go_on(State::point);
            if (byte == 'e' || byte == 'E') return go_on(State::exponent);
            return complete(TokenKind::integer, Step::ends_before);
        case State::point:
            return is_digit(byte) ? go_on(State::decimals) : Step::wrong;
        case State::decimals:
            if (is_digit(byte)) return Step::more;
            if (byte == 'e' || byte == 'E') return go_on(State::exponent);
            return complete(TokenKind::fraction, Step::ends_before);
        case State::exponent:
            if (byte == '-' || byte == '+') return go_on(State::exponent_sign);
            [[fallthrough]];
        case State::exponent_sign:
            return is_digit(byte) ? go_on(State::exponent_digits) : Step::wrong;
        case State::exponent_digits:
            return is_digit(byte) ? Step::more : complete(TokenKind::fraction, Step::ends_before);
        case State::word:
            return is_small_letter(byte) ? Step::more : complete(TokenKind::word, Step::ends_before);
        case State::skipping:
            constexpr std::string_view kRestarts = "{}[]:,";
            // Not so a tab, which is skipped like a blank.
            if (byte == '\t') return Step::nothing;
            return is_outside(byte) || kRestarts.contains(byte) ? Step::restart : Step::nothing;
    }
    return Step::wrong;
}

}  // namespace iommufd::inline v0_1::monitor
