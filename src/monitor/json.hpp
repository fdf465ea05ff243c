// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// JSON as QEMU's monitor writes it, byte for byte: a blank after each comma and colon, nothing but ASCII, and the members
// of an object in the order of QEMU's hash table, which its clients see in every answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace iommufd::inline v0_1::monitor {

// Keeps the order in which members were put in, on which the other one depends.
using Json = nlohmann::ordered_json;

// The members of an object in that order; borrowed.
std::vector<std::pair<std::string_view, const Json*>> members(const Json& object);

// Strings hold UTF-8.
std::string write(const Json& value);

}  // namespace iommufd::inline v0_1::monitor
