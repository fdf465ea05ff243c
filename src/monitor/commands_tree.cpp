// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// qom-list, qom-get, qom-list-types, qom-list-properties, device-list-properties
#include <algorithm>

#include "error/compose.hpp"
#include "monitor/commands.hpp"
#include "monitor/property_value.hpp"
#include "monitor/tree.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using object::Option;
using object::PropertyInfo;
using object::TypeInfo;

// What the types stand on, besides those of the table.
struct Ancestor {
    std::string_view name;
    std::string_view parent;
    bool abstract;
};
constexpr Ancestor kAncestors[] = {
    {.name = "object", .parent = "", .abstract = true},
    {.name = "container", .parent = "object", .abstract = false},
    {.name = "device", .parent = "object", .abstract = true},
    {.name = "memory-backend", .parent = "object", .abstract = true},
};

std::string_view parent_of(const TypeInfo& type) {
    if (type.option == Option::device) return "device";
    return type.name.starts_with("memory-backend-") ? "memory-backend" : "object";
}

bool implements(const TypeInfo& type, std::string_view what) {
    return what == type.name || what == parent_of(type) || what == "object" ||
           (what == "user-creatable" && type.option == Option::object);
}

Json entry(std::string_view name, std::string_view type) { return Json::of("name", name, "type", type); }

std::unexpected<Refusal> not_found(const Node& node, const std::string& path) {
    if (node.kind == Node::Kind::ambiguous) return refuse(compose("Path '", path, "' is ambiguous"));
    return refuse_device(compose("Device '", path, "' not found"));
}

Json described(const PropertyInfo& property, std::string_view type) {
    return Json::of("name", property.key, "type", type, "description", property.doc);
}

}  // namespace

Answer list_node(const Call& call) {
    const std::string& path = call.text("path");
    const Tree tree(call.monitor.registry());
    const Node node = tree.find(path);
    if (!node.is_there()) return not_found(node, path);
    Json list(Json::Array{});
    list.push_back(entry("type", "string"));
    for (const Tree::Child& child : tree.children(node))
        list.push_back(entry(child.name, compose("child<", child.type, ">")));
    if (const object::Definition* const object = object_of(node))
        for (const PropertyInfo& property : object::find_type(object->type)->properties)
            list.push_back(entry(property.key, qom_type(property)));
    return list;
}

Answer get_property(const Call& call) {
    const std::string& path = call.text("path");
    const std::string& key = call.text("property");
    const Tree tree(call.monitor.registry());
    const Node node = tree.find(path);
    if (!node.is_there()) return not_found(node, path);
    if (key == "type") return Json(Tree::type(node));
    for (const Tree::Child& child : tree.children(node))
        if (child.name == key) return Json(Tree::path(child.node));
    const object::Definition* const object = object_of(node);
    const PropertyInfo* const property = object ? object::find_type(object->type)->find(key) : nullptr;
    if (!property) return refuse(compose("Property '", Tree::type(node), ".", key, "' not found"));
    // A descriptor is the object's, and a UUID a secret.
    if (property->kind == object::ValueKind::descriptor || property->kind == object::ValueKind::uuid)
        return refuse(compose("Property '", object->type, ".", key, "' is not readable"));
    auto value = call.monitor.registry().property(object->id, key);
    if (!value) return refuse(value.error());
    return value_of(*property, *value);
}

Answer list_types(const Call& call) {
    const Json* const wanted = call.find("implements");
    const Json* const abstract = call.find("abstract");
    const bool also_abstract = abstract && *abstract->boolean();
    Json list(Json::Array{});
    for (const Ancestor& ancestor : kAncestors) {
        const bool fits = !wanted || *wanted->text() == ancestor.name || *wanted->text() == "object";
        if (!fits || (ancestor.abstract && !also_abstract)) continue;
        Json type = Json::of("name", ancestor.name);
        if (ancestor.abstract) type.add("abstract", true);
        if (!ancestor.parent.empty()) type.add("parent", ancestor.parent);
        list.push_back(std::move(type));
    }
    for (const TypeInfo& type : object::types())
        if (!wanted || implements(type, *wanted->text()))
            list.push_back(Json::of("name", type.name, "parent", parent_of(type)));
    return list;
}

Answer list_properties(const Call& call) {
    const std::string& name = call.text("typename");
    const TypeInfo* const type = object::find_type(name);
    if (!type && std::ranges::find(kAncestors, name, &Ancestor::name) == std::end(kAncestors))
        return refuse_device(compose("Class '", name, "' not found"));
    Json list(Json::Array{});
    list.push_back(entry("type", "string"));
    if (type)
        for (const PropertyInfo& property : type->properties)
            list.push_back(described(property, qom_type(property)));
    return list;
}

Answer list_device_properties(const Call& call) {
    const std::string& name = call.text("typename");
    const TypeInfo* const type = object::find_type(name);
    const bool is_ancestor = std::ranges::find(kAncestors, name, &Ancestor::name) != std::end(kAncestors);
    if (!type && !is_ancestor) return refuse_device(compose("Device '", name, "' not found"));
    if (!type || type->option != Option::device)
        return refuse("Parameter 'typename' expects a non-abstract device type");
    Json list(Json::Array{});
    for (const PropertyInfo& property : type->properties) {
        if (property.use == object::Use::state) continue;
        Json described_one = described(property, device_type(property));
        if (!property.standard.empty())
            described_one.add("default-value", value_of(property, property.standard));
        list.push_back(std::move(described_one));
    }
    return list;
}

}  // namespace iommufd::inline v0_1::monitor
