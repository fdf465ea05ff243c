// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The types of objects and devices, and their properties: one table, from which come the checks of the
// grammar, its help texts, the man page and introspection.
//
//     find_type("dma-space")->properties      iommufd, and what can only be read
//     help(Option::object)                    what `-object help` prints
//     help_for(Option::object, "iommufd,help")
//
// Threads: the table is constant; everything here may be called at any time.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::object {

// The options of a command line that define objects.
enum class Option : std::uint8_t { object, device };

// "-object", "-device".
IOMMUFD_EXPORT std::string_view name(Option option) noexcept;

// How the value of a property is written.
enum class ValueKind : std::uint8_t {
    text,
    path,
    descriptor,   // the number of an open descriptor of this process, above 2
    size,         // bytes: 4096, 0x1000, 64M, 1.5G; b, k, K, M, G, T, P and E are powers of 1024
    address,      // as a size
    boolean,      // on, off; yes, no, y, n, true, false
    number,       // decimal, or hexadecimal with 0x
    nodes,        // NUMA nodes: 0, or 0-3; the key may be repeated
    choice,       // one of PropertyInfo::words
    reference,    // the id of an object whose type is one of PropertyInfo::words
    pci_address,  // 0000:02:00.0; without the domain, 0000 is meant
    uuid,         // 00112233-4455-6677-8899-aabbccddeeff
};

enum class Use : std::uint8_t {
    optional,
    required,
    state,  // can only be read, from an object that exists
};

struct PropertyInfo {
    std::string_view key;
    ValueKind kind = ValueKind::text;
    Use use = Use::optional;
    std::string_view standard = {};  // the value where none is given; empty: as `doc` says
    std::string_view doc = {};       // one sentence, without a full stop
    std::span<const std::string_view> words = {};
    std::uint64_t most = ~std::uint64_t{0};  // the largest number
};

// How a value of it is written, in short: "SIZE", "on|off", "ID of a dma-space".
IOMMUFD_EXPORT std::string value_form(const PropertyInfo& property);

struct TypeInfo {
    std::string_view name;
    Option option;
    std::string_view doc;
    std::span<const PropertyInfo> properties;
    // Of these keys exactly one must be given.
    std::span<const std::string_view> one_of = {};

    // Null: no such key.
    IOMMUFD_EXPORT const PropertyInfo* find(std::string_view key) const noexcept;
};

IOMMUFD_EXPORT std::span<const TypeInfo> types() noexcept;
// Null: no such type.
IOMMUFD_EXPORT const TypeInfo* find_type(std::string_view name) noexcept;

// The types of an option, with a line on each; the properties of a type, likewise. Lines end with a newline.
IOMMUFD_EXPORT std::string help(Option option);
IOMMUFD_EXPORT std::string help(const TypeInfo& type);

// The help that the argument of an option asks for: "help", "TYPE,help", or "?" for help. Nothing: it asks
// for none.
IOMMUFD_EXPORT std::optional<std::string> help_for(Option option, std::string_view text);

}  // namespace iommufd::inline v0_1::object
