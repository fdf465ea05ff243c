// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/values.hpp"

#include <algorithm>

#include "object/notation.hpp"

namespace iommufd::inline v0_1::object {

std::string_view Values::raw(std::string_view key) const noexcept {
    if (const std::string* const given = definition_.find(key)) return *given;
    return find_type(definition_.type)->find(key)->standard;
}

std::string Values::text(std::string_view key) const { return std::string(raw(key)); }
std::uint64_t Values::bytes(std::string_view key) const { return read_size(raw(key)).value_or(0); }
std::uint64_t Values::number(std::string_view key) const { return read_number(raw(key)).value_or(0); }
bool Values::flag(std::string_view key) const { return read_boolean(raw(key)).value_or(false); }

std::vector<unsigned> Values::nodes(std::string_view key) const {
    std::vector<unsigned> list;
    for (const Property& property : definition_.properties) {
        const auto range = property.key == key ? read_node_range(property.value) : std::nullopt;
        for (std::uint64_t node = range ? range->first : 1; node <= (range ? range->second : 0); ++node)
            list.push_back(static_cast<unsigned>(node));
    }
    std::ranges::sort(list);
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return list;
}

}  // namespace iommufd::inline v0_1::object
