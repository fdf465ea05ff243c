// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/property_value.hpp"

#include <cstdint>
#include <optional>

#include "error/compose.hpp"
#include "object/notation.hpp"

namespace iommufd::inline v0_1::monitor {

using object::PropertyInfo;
using object::ValueKind;

std::string qom_type(const PropertyInfo& property) {
    switch (property.kind) {
        case ValueKind::boolean:
            return "bool";
        case ValueKind::size:
        case ValueKind::address:
        case ValueKind::number:
        case ValueKind::nodes:
            return "int";
        case ValueKind::reference:
            return compose("link<", property.words.size() == 1 ? property.words[0] : "memory-backend", ">");
        default:
            return "string";
    }
}

std::string device_type(const PropertyInfo& property) {
    constexpr std::uint64_t kLargest = 0xFFFFFFFF;
    switch (property.kind) {
        case ValueKind::boolean:
            return "bool";
        case ValueKind::size:
        case ValueKind::address:
            return "size";
        case ValueKind::number:
            return property.most <= kLargest ? "uint32" : "uint64";
        case ValueKind::reference:
            return qom_type(property);
        default:
            return "str";
    }
}

Json value_of(const PropertyInfo& property, std::string_view value) {
    switch (property.kind) {
        case ValueKind::boolean:
            return object::read_boolean(value).value_or(false);
        case ValueKind::size:
        case ValueKind::address:
        case ValueKind::number: {
            const auto number = object::read_size(value);
            return number ? Json(*number) : Json(value);
        }
        case ValueKind::nodes: {
            Json list(Json::Array{});
            while (!value.empty()) {
                const std::size_t length = std::min(value.find(','), value.size());
                const auto range =
                    object::read_node_range(value.substr(0, length)).value_or(std::pair{1U, 0U});
                for (std::uint64_t node = range.first; node <= range.second; ++node) list.push_back(node);
                value.remove_prefix(std::min(length + 1, value.size()));
            }
            return list;
        }
        case ValueKind::reference:
            return compose("/objects/", value);
        default:
            return value;
    }
}

}  // namespace iommufd::inline v0_1::monitor
