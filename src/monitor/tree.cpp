// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/tree.hpp"

#include <algorithm>

#include "monitor/monitor.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using Kind = Node::Kind;

std::vector<std::string_view> names_in(std::string_view path) {
    std::vector<std::string_view> names;
    while (!path.empty()) {
        const std::size_t length = path.find('/');
        if (length != 0) names.push_back(path.substr(0, length));
        path.remove_prefix(length == std::string_view::npos ? path.size() : length + 1);
    }
    return names;
}

}  // namespace

const object::Definition* object_of(const Node& node) noexcept {
    return node.kind == Kind::object ? &node.object->definition : nullptr;
}

std::vector<Tree::Child> Tree::objects(object::Option option) const {
    std::vector<Child> children;
    for (const object::ObjectInfo& info : objects_)
        if (object::find_type(info.definition.type)->option == option)
            children.push_back({.name = info.definition.id,
                                .type = info.definition.type,
                                .node = {.kind = Kind::object, .object = &info}});
    return children;
}

std::vector<Tree::Child> Tree::children(const Node& node) const {
    const auto container = [](const char* name, Kind kind) {
        return Child{.name = name, .type = "container", .node = {.kind = kind}};
    };
    switch (node.kind) {
        case Kind::root:
            return {container("machine", Kind::machine), container("objects", Kind::objects)};
        case Kind::machine:
            return {container("peripheral", Kind::peripheral)};
        case Kind::objects:
            return objects(object::Option::object);
        case Kind::peripheral:
            return objects(object::Option::device);
        default:
            return {};
    }
}

Node Tree::walk(Node from, const std::vector<std::string_view>& names) const {
    for (const std::string_view name : names) {
        const auto known = children(from);
        const auto found = std::ranges::find(known, name, &Child::name);
        if (found == known.end()) return {};
        from = found->node;
    }
    return from;
}

Node Tree::find(std::string_view path) const {
    const auto names = names_in(path);
    if (path.starts_with('/')) return walk({.kind = Kind::root}, names);
    std::vector<Node> all{
        {.kind = Kind::root}, {.kind = Kind::machine}, {.kind = Kind::peripheral}, {.kind = Kind::objects}};
    for (const object::ObjectInfo& info : objects_) all.push_back({.kind = Kind::object, .object = &info});
    Node found;
    for (const Node& from : all) {
        const Node there = walk(from, names);
        if (!there.is_there() || there == found) continue;
        if (found.is_there()) return {.kind = Kind::ambiguous};
        found = there;
    }
    return found;
}

std::string Tree::path(const Node& node) {
    switch (node.kind) {
        case Kind::root:
            return "/";
        case Kind::machine:
            return "/machine";
        case Kind::objects:
            return "/objects";
        case Kind::peripheral:
            return "/machine/peripheral";
        case Kind::object:
            return path_of(node.object->definition);
        default:
            return {};
    }
}

std::string_view Tree::type(const Node& node) {
    return node.kind == Kind::object ? std::string_view(node.object->definition.type) : "container";
}

}  // namespace iommufd::inline v0_1::monitor
