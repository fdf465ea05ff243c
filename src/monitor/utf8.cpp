// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/utf8.hpp"

#include <bit>

namespace iommufd::inline v0_1::monitor {
namespace {

bool is_character(std::uint32_t value) {
    const bool is_surrogate = value >= 0xD800 && value <= 0xDFFF;
    const bool is_noncharacter = (value & 0xFFFE) == 0xFFFE || (value >= 0xFDD0 && value <= 0xFDEF);
    return value <= 0x10FFFF && !is_surrogate && !is_noncharacter;
}

// The least value that is written with so many bytes.
constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};

}  // namespace

std::optional<std::uint32_t> take_character(std::string_view& text) noexcept {
    const auto first = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    if (first < 0x80) return first;
    const auto length = static_cast<std::size_t>(std::countl_one(first));
    if (length < 2 || length > 4) return std::nullopt;
    std::uint32_t value = first & (0x7FU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if (text.empty() || (static_cast<unsigned char>(text.front()) & 0xC0U) != 0x80) return std::nullopt;
        value = value << 6 | (static_cast<unsigned char>(text.front()) & 0x3FU);
        text.remove_prefix(1);
    }
    if (length == 2 && value == 0) return 0;
    if (value < kLeast[length] || !is_character(value)) return std::nullopt;
    return value;
}

bool append_character(std::string& text, std::uint32_t character) {
    if (!is_character(character)) return false;
    const auto tail = [&](unsigned shift) {
        text += static_cast<char>(0x80U | ((character >> shift) & 0x3FU));
    };
    if (character < 0x80) {
        text += static_cast<char>(character);
    } else if (character < 0x800) {
        text += static_cast<char>(0xC0U | (character >> 6));
        tail(0);
    } else if (character < 0x10000) {
        text += static_cast<char>(0xE0U | (character >> 12));
        tail(6);
        tail(0);
    } else {
        text += static_cast<char>(0xF0U | (character >> 18));
        tail(12);
        tail(6);
        tail(0);
    }
    return true;
}

}  // namespace iommufd::inline v0_1::monitor
