// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/definitions.hpp"

#include <algorithm>
#include <optional>

#include "error/compose.hpp"
#include "object/notation.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using object::Definition;
using object::PropertyInfo;
using object::TypeInfo;
using object::ValueKind;

using Texts = std::expected<std::vector<std::string>, Refusal>;

std::unexpected<Refusal> wrong_kind(const PropertyInfo& property, std::string_view expected) {
    return refuse(compose("Invalid parameter type for '", property.key, "', expected: ", expected));
}

std::optional<std::string> natural_number(const Json& value) {
    const auto number = value.natural();
    return number ? std::optional(compose(*number)) : std::nullopt;
}

std::unexpected<Refusal> no_number(const PropertyInfo& property) {
    return refuse(compose("Parameter '", property.key, "' expects uint64"));
}

// The texts that the grammar would have for it: one, or one for each element of a list.
Texts of_their_kind(const PropertyInfo& property, const Json& value) {
    switch (property.kind) {
        case ValueKind::boolean:
            if (!value.boolean()) return wrong_kind(property, "boolean");
            return std::vector<std::string>{*value.boolean() ? "on" : "off"};
        case ValueKind::address:
            if (value.text()) return std::vector{*value.text()};
            [[fallthrough]];
        case ValueKind::size:
        case ValueKind::number: {
            auto number = natural_number(value);
            if (!number) return no_number(property);
            return std::vector{*std::move(number)};
        }
        case ValueKind::nodes: {
            if (!value.array()) return wrong_kind(property, "array");
            std::vector<std::string> nodes;
            for (const Json& element : *value.array()) {
                auto node = natural_number(element);
                if (!node)
                    return refuse(
                        compose("Parameter '", property.key, "[", nodes.size(), "]' expects uint16"));
                nodes.push_back(*std::move(node));
            }
            return nodes;
        }
        case ValueKind::choice:
            if (value.text() && std::ranges::find(property.words, *value.text()) == property.words.end())
                return refuse(
                    compose("Parameter '", property.key, "' does not accept value '", *value.text(), "'"));
            [[fallthrough]];
        default:
            if (!value.text()) return wrong_kind(property, "string");
            return std::vector{*value.text()};
    }
}

Texts of_any_kind(const PropertyInfo& property, const Json& value) {
    if (value.text()) return std::vector{*value.text()};
    if (value.boolean()) return std::vector<std::string>{*value.boolean() ? "on" : "off"};
    if (auto number = natural_number(value)) return std::vector{*std::move(number)};
    return wrong_kind(property, "string");
}

bool begins_with_digit(std::string_view text) { return !text.empty() && text[0] >= '0' && text[0] <= '9'; }

// The descriptors of a definition, which the client has passed: closed, unless an object takes them.
class Taken {
public:
    Answer take(const Call& call, const TypeInfo& type, Definition& definition) {
        for (object::Property& property : definition.properties) {
            if (type.find(property.key)->kind != ValueKind::descriptor) continue;
            const auto why = take_one(call, property.value);
            if (!why.empty())
                return refuse(compose("Could not parse remote object fd ", property.value, ":", why));
        }
        return Json();
    }
    // The objects close them from here on.
    void release() noexcept {
        for (sys::Fd& descriptor : descriptors_) (void)descriptor.release();
    }

private:
    // Why not; empty: it is the number of a descriptor now.
    std::string take_one(const Call& call, std::string& value) {
        if (begins_with_digit(value)) {
            const auto number = object::read_number(value);
            if (!number || *number > object::kMostDescriptor)
                return compose("Invalid file descriptor number '", value, "'");
            if (call.monitor.has_passed(static_cast<int>(*number)))
                return compose("File descriptor ", value, " is a client's: use the name that getfd gave it");
            return {};
        }
        auto named = call.session.descriptors().take(value);
        if (!named) return compose("File descriptor named '", value, "' has not been found");
        descriptors_.push_back(*std::move(named));
        value = compose(descriptors_.back().number());
        return {};
    }

    std::vector<sys::Fd> descriptors_;
};

}  // namespace

std::expected<Definition, Refusal> read_definition(const TypeInfo& type, const Json& arguments,
                                                   Values values) {
    Definition definition{.type = std::string(type.name), .id = *arguments.find("id")->text()};
    for (const PropertyInfo& property : type.properties) {
        const Json* const given = arguments.find(property.key);
        if (!given || property.use == object::Use::state) {
            if (property.use == object::Use::required)
                return refuse(compose("Parameter '", property.key, "' is missing"));
            continue;
        }
        auto texts =
            values == Values::of_their_kind ? of_their_kind(property, *given) : of_any_kind(property, *given);
        if (!texts) return std::unexpected(texts.error());
        for (std::string& text : *texts)
            definition.properties.push_back({.key = std::string(property.key), .value = std::move(text)});
    }
    return definition;
}

Answer create(const Call& call, Definition definition, const TypeInfo& type) {
    Taken taken;
    if (auto took = taken.take(call, type, definition); !took) return took;
    if (!object::is_id(definition.id)) return refuse("Parameter 'id' expects an identifier");
    if (call.monitor.registry().find(definition.id)) {
        if (type.option == object::Option::device)
            return refuse(compose("Duplicate device ID '", definition.id, "'"));
        return refuse(
            compose("attempt to add duplicate property '", definition.id, "' to object (type 'container')"));
    }
    auto created = call.monitor.create(definition, [&] { taken.release(); });
    if (!created) return refuse(created.error());
    return nothing();
}

}  // namespace iommufd::inline v0_1::monitor
