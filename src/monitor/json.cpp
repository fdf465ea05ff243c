// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/json.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

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

// As deep as what the reader lets in, and what the commands make.
void append_value(std::string& text, const Json& value) {
    switch (value.type()) {
        case Json::value_t::object: {
            text += '{';
            bool first = true;
            for (const auto& [key, member] : members(value)) {
                if (!std::exchange(first, false)) text += ", ";
                append_string(text, key);
                text += ": ";
                append_value(text, *member);
            }
            text += '}';
            break;
        }
        case Json::value_t::array: {
            text += '[';
            bool first = true;
            for (const Json& element : value) {
                if (!std::exchange(first, false)) text += ", ";
                append_value(text, element);
            }
            text += ']';
            break;
        }
        case Json::value_t::string:
            append_string(text, value.get_ref<const std::string&>());
            break;
        case Json::value_t::boolean:
            text += value.get<bool>() ? "true" : "false";
            break;
        case Json::value_t::number_integer:
            append(text, value.get<std::int64_t>());
            break;
        case Json::value_t::number_unsigned:
            append(text, value.get<std::uint64_t>());
            break;
        case Json::value_t::number_float:
            append_float(text, value.get<double>());
            break;
        default:
            text += "null";
    }
}

}  // namespace

std::vector<std::pair<std::string_view, const Json*>> members(const Json& object) {
    std::vector<std::pair<std::string_view, const Json*>> ordered;
    ordered.reserve(object.size());
    for (auto it = object.begin(); it != object.end(); ++it) ordered.emplace_back(it.key(), &it.value());
    // Of one bucket the last one that was put in comes first.
    std::ranges::reverse(ordered);
    std::ranges::stable_sort(ordered, {}, [](const auto& member) { return bucket(member.first); });
    return ordered;
}

std::string write(const Json& value) {
    std::string text;
    append_value(text, value);
    return text;
}

}  // namespace iommufd::inline v0_1::monitor
