// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/command_line.hpp"

#include <string_view>

#include "error/compose.hpp"
#include "iommufd/object/schema.hpp"

namespace iommufd::inline v0_1::object {

std::vector<std::string> normalise_argv(std::span<const char* const> arguments) {
    std::vector<std::string> normal;
    normal.reserve(arguments.size());
    bool is_value = false;
    bool options_ended = false;
    for (const std::string_view argument : arguments) {
        normal.emplace_back(argument);
        if (is_value || options_ended) {
            is_value = false;
            continue;
        }
        options_ended = argument == "--";
        const bool has_two_dashes = argument.starts_with("--");
        const std::string_view word = argument.substr(has_two_dashes ? 1 : 0);
        for (const std::string_view option :
             {name(Option::object), name(Option::device), std::string_view("-qmp")}) {
            if (word.substr(0, word.find('=')) != option) continue;
            if (!has_two_dashes) normal.back() = compose("-", argument);
            is_value = !argument.contains('=');
        }
    }
    return normal;
}

}  // namespace iommufd::inline v0_1::object
