// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Definitions of objects and devices as QMP has them: members of JSON, and descriptors by the names that getfd gave them.
#pragma once

#include <expected>
#include <string_view>
#include <vector>

#include "iommufd/object/definition.hpp"
#include "monitor/commands.hpp"

namespace iommufd::inline v0_1::monitor {

// Of object-add, which takes values in the kind that they have; of device_add, where a text will always do.
enum class Values : std::uint8_t { of_their_kind, of_any_kind };

std::expected<object::Definition, Refusal> read_definition(const object::TypeInfo& type,
                                                           const Json& arguments, Values values);

// Creates it. The names of descriptors in it are the client's no longer, and what no object has taken is closed.
Answer create(const Call& call, object::Definition definition, const object::TypeInfo& type);

}  // namespace iommufd::inline v0_1::monitor
