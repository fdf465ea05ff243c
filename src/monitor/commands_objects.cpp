// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// object-add, object-del, device_add, device_del
#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "monitor/commands.hpp"
#include "monitor/definitions.hpp"
#include "monitor/tree.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using object::Option;
using object::TypeInfo;

// The first argument that is no property, and isn't one of `known`; empty: there is none.
std::string unknown_argument(const TypeInfo& type, const Json& arguments,
                             std::initializer_list<std::string_view> known) {
    for (const Json::Member& member : *arguments.object()) {
        const object::PropertyInfo* const property = type.find(member.key);
        const bool is_settable = property && property->use != object::Use::state;
        if (!is_settable && std::ranges::find(known, std::string_view(member.key)) == known.end())
            return member.key;
    }
    return {};
}

Answer removed(const Call& call, const std::string& id) {
    auto gone = call.monitor.remove(id);
    if (gone) return nothing();
    if (gone.error().code() != EBUSY) return refuse(gone.error());
    return refuse(compose("object '", id, "' is in use, can not be deleted: ", gone.error().cause(), "; ",
                          gone.error().next_step()));
}

}  // namespace

Answer add_object(const Call& call) {
    const std::string& name = call.text("qom-type");
    const TypeInfo* const type = object::find_type(name);
    if (!type || type->option != Option::object)
        return refuse(compose("Parameter 'qom-type' does not accept value '", name, "'"));
    auto definition = read_definition(*type, call.arguments, Values::of_their_kind);
    if (!definition) return std::unexpected(definition.error());
    if (const std::string key = unknown_argument(*type, call.arguments, {"qom-type", "id"}); !key.empty())
        return refuse(compose("Parameter '", key, "' is unexpected"));
    return create(call, *std::move(definition), *type);
}

Answer delete_object(const Call& call) {
    const std::string& id = call.text("id");
    const auto node = Tree(call.monitor.registry()).find(compose("/objects/", id));
    if (!object_of(node)) return refuse(compose("object '", id, "' not found"));
    return removed(call, id);
}

Answer add_device(const Call& call) {
    const Json* const driver = call.find("driver");
    if (!driver || !driver->text()) return refuse("Parameter 'driver' is missing");
    const auto& name = *driver->text();
    const TypeInfo* const type = object::find_type(name);
    if (name == "device") return refuse("Parameter 'driver' expects a non-abstract device type");
    if (!type || type->option != Option::device)
        return refuse(compose("'", name, "' is not a valid device model name"));
    const Json* const id = call.find("id");
    if (!id) return refuse("Parameter 'id' is missing");
    if (!id->text()) return refuse("Invalid parameter type for 'id', expected: string");
    if (const std::string key = unknown_argument(*type, call.arguments, {"driver", "id"}); !key.empty())
        return refuse(compose("Property '", name, ".", key, "' not found"));
    auto definition = read_definition(*type, call.arguments, Values::of_any_kind);
    if (!definition) return std::unexpected(definition.error());
    return create(call, *std::move(definition), *type);
}

Answer delete_device(const Call& call) {
    const std::string& id = call.text("id");
    const Tree tree(call.monitor.registry());
    // An id, or a path that begins with a slash.
    const auto node = tree.find(id.starts_with('/') ? id : device_path(id));
    if (node.kind == Node::Kind::none) return refuse_device(compose("Device '", id, "' not found"));
    const object::Definition* const found = object_of(node);
    if (!found || object::find_type(found->type)->option != Option::device)
        return refuse(compose(id, " is not a device"));
    return removed(call, found->id);
}

}  // namespace iommufd::inline v0_1::monitor
