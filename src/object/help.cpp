// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The help texts that the table gives.
#include <algorithm>

#include "error/compose.hpp"
#include "iommufd/object/schema.hpp"
#include "object/grammar.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

constexpr std::size_t kColumn = 28;

// The words start in one column; a long first one gets a line of its own.
void add_line(std::string& text, const std::string& first, std::string_view words) {
    if (first.size() + 2 > kColumn)
        text += compose(first, "\n", std::string(kColumn, ' '));
    else
        text += first + std::string(kColumn - first.size(), ' ');
    text += compose(words, "\n");
}

std::string between(std::span<const std::string_view> words, std::string_view separator) {
    std::string text;
    for (const std::string_view word : words) text += compose(text.empty() ? "" : separator, word);
    return text;
}

std::string words_of(const TypeInfo& type, const PropertyInfo& property) {
    std::string words(property.doc);
    if (property.use == Use::required) words += " (required)";
    if (!property.standard.empty()) words += compose(" (standard: ", property.standard, ")");
    if (std::ranges::find(type.one_of, property.key) != type.one_of.end())
        words += compose(" (exactly one of ", between(type.one_of, ", "), ")");
    return words;
}

}  // namespace

std::string value_form(const PropertyInfo& property) {
    switch (property.kind) {
        case ValueKind::text:
            return "TEXT";
        case ValueKind::path:
            return "PATH";
        case ValueKind::descriptor:
            return "FD";
        case ValueKind::size:
            return "SIZE";
        case ValueKind::address:
            return "ADDRESS";
        case ValueKind::boolean:
            return "on|off";
        case ValueKind::number:
            return "NUMBER";
        case ValueKind::nodes:
            return "NODE[-NODE]";
        case ValueKind::choice:
            return between(property.words, "|");
        case ValueKind::reference:
            return "ID";
        case ValueKind::pci_address:
            return "[DOMAIN:]BUS:SLOT.FUNCTION";
        case ValueKind::uuid:
            return "UUID";
    }
    return {};
}

std::string help(Option option) {
    std::string text =
        compose("Types of ", name(option), " (`", name(option), " TYPE,help` lists a type's properties):\n");
    for (const TypeInfo& type : types())
        if (type.option == option) add_line(text, compose("  ", type.name), type.doc);
    return text;
}

std::string help(const TypeInfo& type) {
    std::string text = compose(name(type.option), " ", type.name, ",id=ID[,KEY=VALUE...]: ", type.doc, "\n");
    const auto add_all = [&](bool state, std::string_view heading) {
        text += heading;
        for (const PropertyInfo& property : type.properties)
            if ((property.use == Use::state) == state)
                add_line(text,
                         state ? compose("  ", property.key)
                               : compose("  ", property.key, "=", value_form(property)),
                         words_of(type, property));
    };
    add_all(false, "Properties:\n");
    if (std::ranges::find(type.properties, Use::state, &PropertyInfo::use) != type.properties.end())
        add_all(true, "To be read only:\n");
    return text;
}

std::optional<std::string> help_for(Option option, std::string_view text) {
    if (text.starts_with('{')) return std::nullopt;
    const auto words = split(text);
    if (std::ranges::none_of(words, [](const std::string& word) { return word == "help" || word == "?"; }))
        return std::nullopt;
    const TypeInfo* const type = find_type(words.front());
    return type && type->option == option ? help(*type) : help(option);
}

}  // namespace iommufd::inline v0_1::object
