// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A definition against the table.
#include "object/check.hpp"

#include <algorithm>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "object/kinds.hpp"
#include "object/notation.hpp"
#include "object/values.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

using Checked = Result<void>;

Result<const TypeInfo*> known_type(std::optional<Option> option, const Definition& definition) {
    const TypeInfo* const type = find_type(definition.type);
    if (type && (!option || type->option == *option)) return type;
    if (type)
        return cannot_create(definition, compose("a ", type->name, " is made by ", name(type->option)),
                             compose("write ", name(type->option), " ", type->name, ",..."));
    std::vector<std::string_view> names;
    for (const TypeInfo& known : types())
        if (!option || known.option == *option) names.push_back(known.name);
    if (definition.type.empty())
        return cannot_create(
            definition, "its type is missing",
            compose("begin with TYPE,id=ID: the types are ", list_text({names.begin(), names.end()}, "and")));
    return cannot_create(definition, compose("there is no type ", quote(definition.type)),
                         suggestion(definition.type, names, "the types are "));
}

Checked check_id(const Definition& definition) {
    if (definition.id.empty())
        return cannot_create(definition, "it has no id=", compose("write ", definition.type, ",id=ID,..."));
    if (!is_id(definition.id))
        return cannot_create(definition, compose("id=", quote(definition.id), " is no id"),
                             "begin with a letter, and go on with letters, digits, '-', '.' and '_'");
    return {};
}

Result<const PropertyInfo*> known_property(const Definition& definition, const TypeInfo& type,
                                           std::string_view key) {
    const PropertyInfo* const property = type.find(key);
    if (property && property->use != Use::state) return property;
    if (property) return cannot_create(definition, compose(key, "= can only be read"), "leave it out");
    std::vector<std::string_view> keys{"id"};
    for (const PropertyInfo& known : type.properties)
        if (known.use != Use::state) keys.push_back(known.key);
    return cannot_create(definition, compose("it has no property ", quote(key)),
                         suggestion(key, keys, "its properties are "));
}

// What would have been right.
std::string right_value(const PropertyInfo& property) {
    switch (property.kind) {
        case ValueKind::text:
        case ValueKind::path:
            return "write at least one character, and no NUL";
        case ValueKind::descriptor:
            return "write the number of a descriptor that this process was given: 0, 1 and 2 are its "
                   "standard "
                   "input and output";
        case ValueKind::size:
        case ValueKind::address:
            return "write bytes, or k, M, G, T, P or E of them: 4096, 0x1000, 64M, 1.5G";
        case ValueKind::boolean:
            return "write on or off";
        case ValueKind::number:
            return compose("write a number from 0 to ", property.most);
        case ValueKind::nodes:
            return compose("write a NUMA node or a range of them, such as 0 or 0-3, below ",
                           property.most + 1);
        case ValueKind::choice:
            return compose("write ", list_text({property.words.begin(), property.words.end()}, "or"));
        case ValueKind::reference:
            return "write the id of an object";
        case ValueKind::pci_address:
            return "write a PCI address, such as 0000:02:00.0";
        case ValueKind::uuid:
            return "write a UUID, such as 00112233-4455-6677-8899-aabbccddeeff";
    }
    return {};
}

bool is_right(const PropertyInfo& property, std::string_view value) {
    switch (property.kind) {
        case ValueKind::text:
        case ValueKind::path:
            return !value.empty() && !value.contains('\0');
        case ValueKind::descriptor: {
            const auto number = read_number(value);
            return number && *number > 2 && *number <= kMostDescriptor;
        }
        case ValueKind::size:
        case ValueKind::address:
            return read_size(value).has_value();
        case ValueKind::boolean:
            return read_boolean(value).has_value();
        case ValueKind::number: {
            const auto number = read_number(value);
            return number && *number <= property.most;
        }
        case ValueKind::nodes: {
            const auto range = read_node_range(value);
            return range && range->second <= property.most;
        }
        case ValueKind::choice:
            return std::ranges::find(property.words, value) != property.words.end();
        case ValueKind::reference:
            return is_id(value);
        case ValueKind::pci_address:
            return read_pci_address(value).has_value();
        case ValueKind::uuid:
            return is_uuid(value);
    }
    return false;
}

Checked check_properties(const Definition& definition, const TypeInfo& type) {
    for (auto it = definition.properties.begin(); it != definition.properties.end(); ++it) {
        auto property = known_property(definition, type, it->key);
        if (!property) return property.error();
        const auto same_key = [&](const Property& other) { return other.key == it->key; };
        if ((*property)->kind != ValueKind::nodes && std::any_of(definition.properties.begin(), it, same_key))
            return cannot_create(definition, compose(it->key, "= is given twice"), "give it once");
        if (!is_right(**property, it->value))
            return cannot_create(definition,
                                 compose(it->key, "=", quote(it->value), " is no ", value_noun(**property)),
                                 right_value(**property));
    }
    return {};
}

Checked check_presence(const Definition& definition, const TypeInfo& type) {
    for (const PropertyInfo& property : type.properties)
        if (property.use == Use::required && !definition.find(property.key))
            return cannot_create(
                definition, compose("it has no ", property.key, "="),
                compose("write ", property.key, "=", value_form(property), ": ", property.doc));
    if (type.one_of.empty()) return {};
    std::vector<std::string> given;
    for (const std::string_view key : type.one_of)
        if (definition.find(key)) given.push_back(compose(key, "="));
    if (given.size() == 1) return {};
    std::vector<std::string> keys;
    for (const std::string_view key : type.one_of) keys.push_back(compose(key, "="));
    return cannot_create(
        definition,
        given.empty() ? "it doesn't say which device" : compose("it has ", list_text(given, "and")),
        compose("give exactly one of ", list_text(keys, "and")));
}

}  // namespace

Result<void> check_as(std::optional<Option> option, const Definition& definition) {
    return guarded(Operation::none, [&]() -> Checked {
        auto type = known_type(option, definition);
        if (!type) return type.error();
        if (auto good = check_id(definition); !good) return good;
        if (auto good = check_properties(definition, **type); !good) return good;
        if (auto good = check_presence(definition, **type); !good) return good;
        const Kind& kind = kind_of(**type);
        return kind.check ? kind.check(Values(definition)) : Checked();
    });
}

Result<void> check(const Definition& definition) { return check_as(std::nullopt, definition); }

}  // namespace iommufd::inline v0_1::object
