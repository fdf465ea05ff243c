// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The objects as QOM shows them:
//
//     /                  container
//     /objects           container of the objects of object-add
//     /machine           container
//     /machine/peripheral    container of the devices
//
// A path may also be a part of one, from any of these on, as long as that is unambiguous: "iommufd0".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/object/registry.hpp"

namespace iommufd::inline v0_1::monitor {

struct Node {
    enum class Kind : std::uint8_t { none, ambiguous, root, objects, machine, peripheral, object };
    Kind kind = Kind::none;
    const object::ObjectInfo* object = nullptr;  // of the tree; where it is one

    bool operator==(const Node&) const = default;
    bool is_there() const noexcept { return kind != Kind::none && kind != Kind::ambiguous; }
};

// Null: it is no object.
const object::Definition* object_of(const Node& node) noexcept;

class Tree {
public:
    explicit Tree(const object::Registry& registry) : objects_(registry.list()) {}

    Node find(std::string_view path) const;

    struct Child {
        std::string name;
        std::string type;  // "container", "iommufd"
        Node node;
    };
    // In the order in which they were created. Empty for an object.
    std::vector<Child> children(const Node& node) const;
    // "/objects/iommufd0"
    static std::string path(const Node& node);
    // "container", "iommufd"
    static std::string_view type(const Node& node);

private:
    Node walk(Node from, const std::vector<std::string_view>& names) const;
    std::vector<Child> objects(object::Option option) const;

    std::vector<object::ObjectInfo> objects_;
};

}  // namespace iommufd::inline v0_1::monitor
