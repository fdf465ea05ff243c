// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How single values are written. Each returns nothing where the text is no such value.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "iommufd/object/schema.hpp"

namespace iommufd::inline v0_1::object {

inline constexpr std::uint64_t kMostDescriptor = std::numeric_limits<int>::max();

// A letter, then letters, digits, '-', '.' and '_': what QEMU takes for an id.
bool is_id(std::string_view text) noexcept;

// Decimal, or hexadecimal with 0x. A leading 0 doesn't make it octal.
std::optional<std::uint64_t> read_number(std::string_view text) noexcept;

// Bytes, as QEMU reads them: decimal or hexadecimal; decimal also with a unit (b, k, m, g, t, p, e, in either
// case, powers of 1024), and then with a fraction, which is rounded to the nearest byte.
std::optional<std::uint64_t> read_size(std::string_view text) noexcept;

// on, yes, true, y; off, no, false, n.
std::optional<bool> read_boolean(std::string_view text) noexcept;

// "3" or "0-3": first and last.
std::optional<std::pair<std::uint64_t, std::uint64_t>> read_node_range(std::string_view text) noexcept;

// "2:0.0", "02:00.0", "0000:02:00.0", in full and in lower case.
std::optional<std::string> read_pci_address(std::string_view text);

bool is_uuid(std::string_view text) noexcept;

// "size", "PCI address": what a value of the property is called in a sentence.
std::string_view value_noun(const PropertyInfo& property) noexcept;

// A given value in its one canonical form: sizes in bytes, booleans on or off.
std::string canonical(const PropertyInfo& property, std::string_view value);

}  // namespace iommufd::inline v0_1::object
