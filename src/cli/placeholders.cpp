// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/placeholders.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

bool is_small(char c) { return c >= 'a' && c <= 'z'; }
bool is_of_an_address(char c) {
    return is_small(c) || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           std::string_view(".:/_-").contains(c);
}

// The inside of the placeholder that begins at the first character; empty: none does.
std::string_view placeholder(std::string_view text) {
    const std::size_t end = text.find('}', 1);
    if (!text.starts_with('{') || end == std::string_view::npos) return {};
    const std::string_view inside = text.substr(1, end - 1);
    const std::string_view name = inside.substr(0, inside.find(':'));
    const std::string_view rest = inside.substr(name.size());
    return !name.empty() && std::ranges::all_of(name, is_small) && std::ranges::all_of(rest, is_of_an_address)
               ? inside
               : std::string_view();
}

Result<std::string> fill_in(std::string_view word, const Resolve& resolve) {
    std::string filled;
    for (std::size_t at = 0; at < word.size();) {
        const std::string_view rest = word.substr(at);
        if (const auto kept = rest.starts_with("{{") ? placeholder(rest.substr(1)) : std::string_view();
            !kept.empty()) {
            filled += compose("{", kept, "}");
            at += kept.size() + 3;
        } else if (const auto inside = placeholder(rest); !inside.empty()) {
            const auto number = resolve(inside);
            if (!number)
                return Error::refused(EINVAL, compose("cannot start the command with '", word, "'"),
                                      compose("there is no descriptor for {", inside, "}"),
                                      "use {iommufd}, or {vfio:BDF} of a --device; write {{ for a brace that "
                                      "is the command's own");
            filled += std::to_string(*number);
            at += inside.size() + 2;
        } else {
            filled += word[at++];
        }
    }
    return filled;
}

}  // namespace

Result<std::vector<std::string>> fill_in(const std::vector<std::string>& words, const Resolve& resolve) {
    std::vector<std::string> filled;
    for (const std::string& word : words) {
        auto one = fill_in(word, resolve);
        if (!one) return one.error();
        filled.push_back(std::move(*one));
    }
    return filled;
}

}  // namespace iommufd::inline v0_1::cli
