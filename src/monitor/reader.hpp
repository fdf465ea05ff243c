// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The values of a stream of JSON, one after another, with or without anything between them. Refusals are in QEMU's words.
//
//     reader.feed(bytes, [](std::expected<Json, std::string> value) { ... });
//
// What is held of an unfinished value is bounded by Limits; a value beyond them is refused, and reading starts anew.
//
// Threads: a value.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "monitor/json.hpp"
#include "monitor/lexer.hpp"

namespace iommufd::inline v0_1::monitor {

class Reader {
public:
    struct Limits {
        std::size_t bytes = std::size_t{1} << 20;   // of the tokens of one value
        std::size_t tokens = std::size_t{1} << 14;  // of one value, whose keys are compared with each other
        std::size_t depth = 1024;                   // objects and arrays within each other
    };
    using Value = std::expected<Json, std::string>;

    Reader() = default;
    explicit Reader(const Limits& limits) : limits_(limits) {}

    template <class Take>
    void feed(std::string_view bytes, Take&& take) {
        for (const char byte : bytes) {
            lexer_.feed(byte, [&](TokenKind kind, std::string& text) {
                if (add(kind, text)) take(finish());
            });
            if (lexer_.pending() > limits_.bytes) {
                lexer_.reset();
                refusal_ = kTooLong;
                take(finish());
            }
        }
    }

private:
    struct Token {
        TokenKind kind;
        std::string text;
    };
    class Parser;
    static constexpr std::string_view kTooLong = "JSON token size limit exceeded";

    // Whether a value has ended, or was refused.
    bool add(TokenKind kind, std::string& text);
    Value finish();

    Limits limits_;
    Lexer lexer_;
    std::vector<Token> tokens_;
    std::size_t bytes_ = 0;
    std::ptrdiff_t objects_ = 0;  // open ones
    std::ptrdiff_t arrays_ = 0;
    std::string refusal_;
};

}  // namespace iommufd::inline v0_1::monitor
