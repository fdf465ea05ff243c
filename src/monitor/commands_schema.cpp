// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// query-qmp-schema: what clients look up before they use a command, a property or an event. The names of types are numbers, as in QEMU: nobody
// is to rely on them.
#include <algorithm>
#include <string>

#include "error/compose.hpp"
#include "iommufd/object/schema.hpp"
#include "monitor/commands.hpp"
#include "monitor/events.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using object::Option;
using object::PropertyInfo;
using object::TypeInfo;
using object::ValueKind;

constexpr std::string_view kAny = "any", kText = "str", kBoolean = "bool", kNumber = "int";

std::string list_of(std::string_view element) { return compose("[", element, "]"); }

class Schema {
public:
    Schema() {
        put_builtin(kText, "string");
        put_builtin(kBoolean, "boolean");
        put_builtin(kNumber, "int");
        put_builtin(kAny, "value");
        for (const std::string_view element : {kText, kNumber})
            entries_.push_back(
                Json::of("name", list_of(element), "meta-type", "array", "element-type", element));
        for (const Command& command : commands()) put(command);
        for (const EventInfo& event : events()) put(event);
    }
    Json take() { return std::move(entries_); }

private:
    void put_builtin(std::string_view name, std::string_view kind) {
        entries_.push_back(Json::of("name", name, "meta-type", "builtin", "json-type", kind));
    }

    std::string next_name() { return compose(names_++); }

    static Json member(std::string_view name, std::string_view type, bool required) {
        Json entry = Json::of("name", name, "type", type);
        if (!required) entry.add("default", Json());
        return entry;
    }

    // Returns its name.
    std::string put_object(Json members) {
        std::string name = next_name();
        entries_.push_back(Json::of("name", name, "meta-type", "object", "members", std::move(members)));
        return name;
    }

    std::string put_choice(std::span<const std::string_view> words) {
        Json members(Json::Array{}), values(Json::Array{});
        for (const std::string_view word : words) {
            members.push_back(Json::of("name", word));
            values.push_back(word);
        }
        std::string name = next_name();
        entries_.push_back(Json::of("name", name, "meta-type", "enum", "members", std::move(members),
                                    "values", std::move(values)));
        return name;
    }

    static std::string type_of(Parameter::Kind kind) {
        switch (kind) {
            case Parameter::Kind::text:
                return std::string(kText);
            case Parameter::Kind::boolean:
                return std::string(kBoolean);
            case Parameter::Kind::number:
                return std::string(kNumber);
            case Parameter::Kind::texts:
                return list_of(kText);
        }
        return std::string(kAny);
    }

    std::string type_of(const PropertyInfo& property) {
        switch (property.kind) {
            case ValueKind::boolean:
                return std::string(kBoolean);
            case ValueKind::size:
            case ValueKind::number:
                return std::string(kNumber);
            case ValueKind::nodes:
                return list_of(kNumber);
            case ValueKind::choice:
                return put_choice(property.words);
            case ValueKind::address:  // a number, or a text
                return std::string(kAny);
            default:
                return std::string(kText);
        }
    }

    Json variants() {
        Json cases(Json::Array{});
        for (const TypeInfo& type : object::types()) {
            if (type.option != Option::object) continue;
            Json members(Json::Array{});
            for (const PropertyInfo& property : type.properties)
                if (property.use != object::Use::state && property.key != "id")
                    members.push_back(
                        member(property.key, type_of(property), property.use == object::Use::required));
            cases.push_back(Json::of("case", type.name, "type", put_object(std::move(members))));
        }
        return cases;
    }

    std::string put_arguments(const Command& command) {
        Json members(Json::Array{});
        const bool chooses =
            std::ranges::find(command.parameters, "qom-type", &Parameter::name) != command.parameters.end();
        for (const Parameter& parameter : command.parameters)
            members.push_back(
                member(parameter.name,
                       parameter.name == "qom-type" ? put_choice(object_types()) : type_of(parameter.kind),
                       parameter.required));
        if (!chooses) return put_object(std::move(members));
        Json cases = variants();
        std::string name = next_name();
        entries_.push_back(Json::of("name", name, "meta-type", "object", "members", std::move(members), "tag",
                                    "qom-type", "variants", std::move(cases)));
        return name;
    }

    static std::vector<std::string_view> object_types() {
        std::vector<std::string_view> names;
        for (const TypeInfo& type : object::types())
            if (type.option == Option::object) names.push_back(type.name);
        return names;
    }

    void put(const Command& command) {
        std::string arguments = put_arguments(command);
        entries_.push_back(Json::of("name", command.name, "meta-type", "command", "arg-type",
                                    std::move(arguments), "ret-type", kAny));
    }

    static std::string type_of(EventMember::Kind kind) {
        switch (kind) {
            case EventMember::Kind::text:
                return std::string(kText);
            case EventMember::Kind::texts:
                return list_of(kText);
            case EventMember::Kind::boolean:
                return std::string(kBoolean);
            case EventMember::Kind::number:
                return std::string(kNumber);
        }
        return std::string(kAny);
    }

    void put(const EventInfo& event) {
        Json members(Json::Array{});
        for (const EventMember& each : event.data)
            members.push_back(member(each.name, type_of(each.kind), each.always));
        std::string data = put_object(std::move(members));
        entries_.push_back(Json::of("name", event.name, "meta-type", "event", "arg-type", std::move(data)));
    }

    Json entries_{Json::Array{}};
    unsigned names_ = 0;
};

}  // namespace

Answer query_schema(const Call&) { return Schema().take(); }

}  // namespace iommufd::inline v0_1::monitor
