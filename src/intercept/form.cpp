// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/form.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace iommufd::inline v0_1::intercept {
namespace {

std::uint64_t value_of(const Field& field, std::span<const std::byte> bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + field.offset, field.size);  // of a little-endian machine
    return value;
}

std::string text_of(const Field& field, std::uint64_t value) {
    switch (field.show) {
        case Show::address:
        case Show::rest:
            return show_address(value);
        case Show::descriptor:
            return std::to_string(static_cast<std::int32_t>(value));
        case Show::bits:
            return show_bits(value, *field.names);
        case Show::value:
            return show_value(value, *field.names);
        case Show::number:
        case Show::own_size:
            break;
    }
    return std::to_string(value);
}

bool is_shown(const Form& form, const Field& field, std::uint64_t value) {
    if (field.show == Show::rest) return value != 0;
    return field.show != Show::own_size || value != form.size;
}

}  // namespace

std::string show_address(std::uint64_t value) {
    std::array<char, 20> text{};
    (void)std::snprintf(text.data(), text.size(), value == 0 ? "0" : "0x%llx",
                        static_cast<unsigned long long>(value));
    return text.data();
}

std::string show_bits(std::uint64_t value, const Names& names) {
    std::string text;
    const auto add = [&](std::string_view prefix, std::string_view name) {
        if (!text.empty()) text += '|';
        text.append(prefix).append(name);
    };
    for (const Name& name : names.all) {
        if (name.value == 0 || (value & name.value) != name.value) continue;
        value &= ~name.value;
        add(names.prefix, name.text);
    }
    if (value != 0 || text.empty()) add({}, show_address(value));
    return text;
}

std::string show_value(std::uint64_t value, const Names& names) {
    const auto found = std::ranges::find(names.all, value, &Name::value);
    return found == names.all.end() ? show_address(value) : std::string(names.prefix).append(found->text);
}

std::string show(const Form& form, std::span<const std::byte> bytes, std::span<const std::byte> before) {
    std::string text = "{";
    for (const Field& field : form.fields) {
        if (field.offset + field.size > bytes.size()) break;  // the program's struct ends before it
        const std::uint64_t value = value_of(field, bytes);
        if (!before.empty() && value == value_of(field, before)) continue;
        if (before.empty() && !is_shown(form, field, value)) continue;
        const std::string_view name = field.name.substr(field.name.find('.') + 1);
        if (before.empty() && name.starts_with("out_")) continue;
        if (text.size() > 1) text += ", ";
        text.append(name).append("=").append(text_of(field, value));
    }
    return text += '}';
}

}  // namespace iommufd::inline v0_1::intercept
