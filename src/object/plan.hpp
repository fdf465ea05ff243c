// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the definitions of one call refer to, and the order in which they can be created.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "object/descriptors.hpp"
#include "object/kinds.hpp"

namespace iommufd::inline v0_1::object {

struct Step {
    const Definition* definition;
    std::vector<std::string> uses;  // ids
};

// Every object after those that it refers to, and else in the order of the definitions, which have been
// checked. Refuses ids that are taken, and references that lead nowhere or to an object of a wrong type.
Result<std::vector<Step>> plan(std::span<const Definition> definitions, std::span<const Known> known);

}  // namespace iommufd::inline v0_1::object
