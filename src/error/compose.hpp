// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Sentences of errors: compose("cannot map ", Hex{iova}, " into ioas ", id).
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

// A number written as 0x....
struct Hex {
    std::uint64_t value;
};

inline void append(std::string& text, std::string_view piece) { text += piece; }

inline void append(std::string& text, Hex number) {
    char digits[16];
    const auto end = std::to_chars(digits, digits + sizeof digits, number.value, 16).ptr;
    text.append("0x").append(digits, end);
}

inline void append(std::string& text, std::integral auto number) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    text.append(digits, end);
}

template <class... Pieces>
std::string compose(const Pieces&... pieces) {
    std::string text;
    (append(text, pieces), ...);
    return text;
}

// "64 MiB", "4 KiB", "1536 bytes": the largest unit that leaves a whole number.
IOMMUFD_EXPORT std::string size_text(std::uint64_t bytes);

}  // namespace iommufd::inline v0_1
