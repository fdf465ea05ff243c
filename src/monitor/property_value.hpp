// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Properties of objects in the kinds that QOM has for them.
#pragma once

#include <string>
#include <string_view>

#include "iommufd/object/schema.hpp"
#include "monitor/json.hpp"

namespace iommufd::inline v0_1::monitor {

// "bool", "int", "string", "link<iommufd>": as qom-list calls it.
std::string qom_type(const object::PropertyInfo& property);
// "bool", "size", "uint32", "str", ...: as device-list-properties does.
std::string device_type(const object::PropertyInfo& property);

// A value in its canonical form as JSON: sizes and numbers as such, references as the path of the object.
Json value_of(const object::PropertyInfo& property, std::string_view value);

}  // namespace iommufd::inline v0_1::monitor
