// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A definition that has been checked, value by value in its own type.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/object/definition.hpp"

namespace iommufd::inline v0_1::object {

// Borrows the definition. The keys are of its type, and the values right: check() has seen to it.
class Values {
public:
    explicit Values(const Definition& definition) : definition_(definition) {}

    const Definition& definition() const noexcept { return definition_; }
    const std::string& id() const noexcept { return definition_.id; }

    bool has(std::string_view key) const noexcept { return definition_.find(key) != nullptr; }
    // Given, or else standard; empty, 0 or off where there is neither.
    std::string text(std::string_view key) const;
    std::uint64_t bytes(std::string_view key) const;  // of sizes and addresses
    std::uint64_t number(std::string_view key) const;
    int descriptor(std::string_view key) const { return static_cast<int>(number(key)); }
    bool flag(std::string_view key) const;
    std::vector<unsigned> nodes(std::string_view key) const;

private:
    std::string_view raw(std::string_view key) const noexcept;

    const Definition& definition_;
};

}  // namespace iommufd::inline v0_1::object
