// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/json.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "error/compose.hpp"
#include "monitor/utf8.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

// The bucket of a key in QEMU's table of 512: the hash of tdb, of the length and the bytes.
unsigned bucket(std::string_view key) {
    auto value = static_cast<std::uint32_t>(0x238F13AFU * key.size());
    for (std::size_t i = 0; i < key.size(); ++i)
        value += static_cast<std::uint32_t>(static_cast<unsigned char>(key[i])) << (i * 5 % 24);
    return (1103515243U * value + 12345U) % 512;
}

void append_unit(std::string& text, std::uint32_t unit) {
    char digits[12];
    (void)std::snprintf(digits, sizeof digits, "\\u%04X", unit);
    text += digits;
}

void append_string(std::string& text, std::string_view value) {
    constexpr std::string_view kLetters = "\"\\bfnrt";
    constexpr std::string_view kMeant = "\"\\\b\f\n\r\t";
    text += '"';
    while (!value.empty()) {
        const std::uint32_t character = take_character(value).value_or(0xFFFD);
        const std::size_t known =
            character < 0x80 ? kMeant.find(static_cast<char>(character)) : std::string_view::npos;
        if (known != std::string_view::npos) {
            text.append(1, '\\').append(1, kLetters[known]);
        } else if (character >= 0x20 && character < 0x7F) {
            text += static_cast<char>(character);
        } else if (character > 0xFFFF) {
            append_unit(text, 0xD800 + ((character - 0x10000) >> 10));
            append_unit(text, 0xDC00 + ((character - 0x10000) & 0x3FF));
        } else {
            append_unit(text, character);
        }
    }
    text += '"';
}

void append_float(std::string& text, double value) {
    char digits[32];
    (void)std::snprintf(digits, sizeof digits, "%.17g", value);
    text += digits;
}

}  // namespace

Json::Json(double value) noexcept : value_(value) {}
Json::Json(std::string value) noexcept : value_(std::move(value)) {}
Json::Json(std::string_view value) : value_(std::string(value)) {}
Json::Json(const char* value) : value_(std::string(value)) {}
Json::Json(Array value) noexcept : value_(std::move(value)) {}
Json::Json(Object value) noexcept : value_(std::move(value)) {}
Json::Json(const std::vector<std::string>& texts) : value_(Array(texts.begin(), texts.end())) {}
// Not by the variant's own copy: that of GCC 12's library destroys what it hasn't made when there is no memory for a string or vector.
Json::Json(const Json& other) {
    std::visit(
        [this](const auto& value) {
            auto copy = value;
            value_ = std::move(copy);
        },
        other.value_);
}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) {
    Json copy(other);
    return *this = std::move(copy);
}
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

std::optional<std::uint64_t> Json::natural() const noexcept {
    if (const auto* const number = std::get_if<std::uint64_t>(&value_)) return *number;
    const auto* const number = std::get_if<std::int64_t>(&value_);
    if (!number || *number < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*number);
}

const Json* Json::find(std::string_view key) const noexcept {
    const Object* const members = object();
    if (!members) return nullptr;
    const auto found = std::ranges::find(*members, key, &Member::key);
    return found == members->end() ? nullptr : &found->value;
}

bool Json::add(std::string_view key, Json value) {
    if (find(key)) return false;
    std::get<Object>(value_).push_back({.key = std::string(key), .value = std::move(value)});
    return true;
}

void Json::push_back(Json value) { std::get<Array>(value_).push_back(std::move(value)); }

std::vector<const Json::Member*> Json::members() const {
    std::vector<const Member*> ordered;
    const auto& members = std::get<Object>(value_);
    ordered.reserve(members.size());
    for (const Member& member : members) ordered.push_back(&member);
    std::ranges::sort(ordered, [](const Member* one, const Member* other) {
        const unsigned bucket_of_one = bucket(one->key);
        const unsigned bucket_of_other = bucket(other->key);
        // Of one bucket the last one that was put in comes first.
        return bucket_of_one != bucket_of_other ? bucket_of_one < bucket_of_other : one > other;
    });
    return ordered;
}

std::string Json::write() const {
    std::string text;
    write_to(text);
    return text;
}

// As deep as what the reader lets in, and what the commands make.
void Json::write_to(std::string& text) const {
    std::string_view between;
    if (object()) {
        text += '{';
        for (const Member* const member : members()) {
            text += std::exchange(between, ", ");
            append_string(text, member->key);
            text += ": ";
            member->value.write_to(text);
        }
        text += '}';
    } else if (const Array* const elements = array()) {
        text += '[';
        for (const Json& element : *elements) {
            text += std::exchange(between, ", ");
            element.write_to(text);
        }
        text += ']';
    } else if (const std::string* const string = this->text()) {
        append_string(text, *string);
    } else if (const bool* const truth = boolean()) {
        text += *truth ? "true" : "false";
    } else if (const auto* const number = std::get_if<std::int64_t>(&value_)) {
        append(text, *number);
    } else if (const auto* const large = std::get_if<std::uint64_t>(&value_)) {
        append(text, *large);
    } else if (const auto* const fraction = std::get_if<double>(&value_)) {
        append_float(text, *fraction);
    } else {
        text += "null";
    }
}

}  // namespace iommufd::inline v0_1::monitor
