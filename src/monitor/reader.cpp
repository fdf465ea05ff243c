// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/reader.hpp"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>

#include "error/compose.hpp"
#include "monitor/utf8.hpp"

namespace iommufd::inline v0_1::monitor {

// Of the tokens of one value, of which the brackets are even, or the last one is one too many.
class Reader::Parser {
public:
    explicit Parser(std::span<Token> tokens) : tokens_(tokens) {}

    Value parse() {
        auto whole = value();
        if (!whole) return std::unexpected(std::move(refusal_));
        return *std::move(whole);
    }

private:
    using Part = std::optional<Json>;

    // Nothing: they have ended.
    const Token* take() { return next_ < tokens_.size() ? &tokens_[next_++] : nullptr; }
    bool peek(TokenKind kind) const { return next_ < tokens_.size() && tokens_[next_].kind == kind; }

    std::nullopt_t refuse(std::string_view why) {
        // QEMU's has room for so many bytes.
        constexpr std::size_t kMost = 1023;
        refusal_ = compose("JSON parse error, ", why.substr(0, kMost));
        return std::nullopt;
    }

    Part value() {
        const Token* const token = take();
        switch (token ? token->kind : TokenKind::comma) {
            case TokenKind::open_object:
                return object();
            case TokenKind::open_array:
                return array();
            case TokenKind::string:
                return string(token->text);
            case TokenKind::integer:
                return integer(token->text);
            case TokenKind::fraction:
                return Json(std::strtod(token->text.c_str(), nullptr));
            case TokenKind::word:
                return word(token->text);
            default:
                return refuse("expecting value");
        }
    }

    Part object() {
        Json object(Json::Object{});
        if (peek(TokenKind::close_object)) {
            (void)take();
            return object;
        }
        for (;;) {
            auto key = value();
            if (!key) return std::nullopt;
            if (!key->text()) return refuse("key is not a string in object");
            const Token* const colon = take();
            if (!colon || colon->kind != TokenKind::colon) return refuse("missing : in object pair");
            auto member = value();
            if (!member) return std::nullopt;
            if (!object.add(*key->text(), *std::move(member))) return refuse("duplicate key");
            const Token* const separator = take();
            if (separator && separator->kind == TokenKind::close_object) return object;
            if (!separator || separator->kind != TokenKind::comma)
                return refuse("expected separator in dict");
        }
    }

    Part array() {
        Json array(Json::Array{});
        if (peek(TokenKind::close_array)) {
            (void)take();
            return array;
        }
        for (;;) {
            auto element = value();
            if (!element) return std::nullopt;
            array.push_back(*std::move(element));
            const Token* const separator = take();
            if (separator && separator->kind == TokenKind::close_array) return array;
            if (!separator || separator->kind != TokenKind::comma)
                return refuse("expected separator in list");
        }
    }

    static Part integer(const std::string& text) {
        const char* const end = text.data() + text.size();
        std::int64_t number = 0;
        if (std::from_chars(text.data(), end, number).ec == std::errc()) return Json(number);
        std::uint64_t large = 0;
        if (text.front() != '-' && std::from_chars(text.data(), end, large).ec == std::errc())
            return Json(large);
        return Json(std::strtod(text.c_str(), nullptr));
    }

    Part word(const std::string& text) {
        if (text == "null") return Json();
        if (text == "true" || text == "false") return Json(text == "true");
        return refuse(compose("invalid keyword '", text, "'"));
    }

    Part string(const std::string& token) {
        std::string text;
        // Without the first quote; with the last one, which an escape that is too short runs into.
        std::string_view rest = std::string_view(token).substr(1);
        while (rest.size() > 1) {
            if (rest.front() == '\\') {
                if (!escape(text, rest)) return std::nullopt;
                continue;
            }
            const auto character = take_character(rest);
            if (!character) return refuse("invalid UTF-8 sequence in string");
            (void)append_character(text, *character);
        }
        return Json(std::move(text));
    }

    static std::optional<std::uint32_t> four_digits(std::string_view text) {
        std::uint32_t value = 0;
        if (text.size() < 4) return std::nullopt;
        const auto [end, error] = std::from_chars(text.data(), text.data() + 4, value, 16);
        return error == std::errc() && end == text.data() + 4 ? std::optional(value) : std::nullopt;
    }

    bool escape(std::string& text, std::string_view& rest) {
        constexpr std::string_view kLetters = "\"'\\/bfnrt";
        constexpr std::string_view kMeant = "\"'\\/\b\f\n\r\t";
        const char letter = rest[1];
        if (const std::size_t known = kLetters.find(letter); known != std::string_view::npos) {
            text += kMeant[known];
            rest.remove_prefix(2);
            return true;
        }
        if (letter != 'u') {
            (void)refuse("invalid escape sequence in string");
            return false;
        }
        const std::string_view whole = rest.substr(0, 6);
        auto character = four_digits(rest.substr(2));
        rest.remove_prefix(whole.size());
        if (character && (*character & 0xFC00U) == 0xD800 && rest.starts_with("\\u")) {
            const auto second = four_digits(rest.substr(2));
            if (second && (*second & 0xFC00U) == 0xDC00) {
                character = 0x10000 + ((*character & 0x3FFU) << 10) + (*second & 0x3FFU);
                rest.remove_prefix(6);
            }
        }
        if (character && append_character(text, *character)) return true;
        (void)refuse(compose(whole, " is not a valid Unicode character"));
        return false;
    }

    std::span<Token> tokens_;
    std::size_t next_ = 0;
    std::string refusal_;
};

bool Reader::add(TokenKind kind, std::string& text) {
    if (kind == TokenKind::stray) {
        refusal_ = compose("JSON parse error, stray '", text.substr(0, text.find('\0')), "'");
        return true;
    }
    if (kind == TokenKind::open_object) ++objects_;
    if (kind == TokenKind::close_object) --objects_;
    if (kind == TokenKind::open_array) ++arrays_;
    if (kind == TokenKind::close_array) --arrays_;
    if (bytes_ + text.size() + 1 > limits_.bytes)
        refusal_ = kTooLong;
    else if (tokens_.size() + 1 > limits_.tokens)
        refusal_ = "JSON token count limit exceeded";
    else if (objects_ + arrays_ > static_cast<std::ptrdiff_t>(limits_.depth))
        refusal_ = "JSON nesting depth limit exceeded";
    if (!refusal_.empty()) return true;
    bytes_ += text.size();
    tokens_.push_back({.kind = kind, .text = std::move(text)});
    const bool is_open = (objects_ > 0 || arrays_ > 0) && objects_ >= 0 && arrays_ >= 0;
    return !is_open;
}

Reader::Value Reader::finish() {
    auto tokens = std::exchange(tokens_, {});
    auto refusal = std::exchange(refusal_, {});
    bytes_ = 0;
    objects_ = arrays_ = 0;
    if (!refusal.empty()) return std::unexpected(std::move(refusal));
    return Parser(tokens).parse();
}

}  // namespace iommufd::inline v0_1::monitor
