// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The two forms of a definition, before anybody asks whether it makes sense.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::object {

// A key and its value as they were written.
struct Pair {
    std::string key;
    std::optional<std::string> value;  // nothing: there was no '='
    bool is_text = true;               // JSON: a string, and not a number or a boolean
};

// The words between single commas; of two commas in a row each pair is one comma of the word.
std::vector<std::string> split(std::string_view text);

// key=value,... ; a first word without '=' is the value of `first_key`.
std::vector<Pair> read_words(std::string_view text, std::string_view first_key);

// {"key": value, ...}. Errors are one line.
Result<std::vector<Pair>> read_json(std::string_view text, std::string_view what);

}  // namespace iommufd::inline v0_1::object
