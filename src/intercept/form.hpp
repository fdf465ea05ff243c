// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the argument of an ioctl is made of, and what its values are called: for who shows it to people.
//
// Threads: any; it is all constant.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::intercept {

struct Name {
    std::uint64_t value;
    std::string_view text;
};

// Names of values, or of bits, that share their beginning.
struct Names {
    std::string_view prefix;
    std::span<const Name> all;
};

enum class Show : std::uint8_t {
    number,
    address,     // in hexadecimal: addresses, lengths, offsets
    descriptor,  // of the program
    bits,
    value,     // one of the names
    rest,      // reserved: shown where it isn't zero
    own_size,  // of the struct: shown where it isn't what it is here
};

struct Field {
    std::string_view name;
    std::uint16_t offset;
    std::uint8_t size;  // 1, 2, 4 or 8
    Show show;
    const Names* names;
};

struct Form {
    uapi::Request request;
    std::string_view name;
    std::uint32_t size;  // of the argument; 0: it is a number, or there is none
    std::span<const Field> fields;
    // The size that the program gives, in its first word, says how much of it there is.
    bool sized;
};

// Of the files of the model: /dev/iommu with what it emulates of VFIO, VFIO devices, and vhost-vdpa devices.
std::span<const Form> iommufd_forms() noexcept;
std::span<const Form> vfio_forms() noexcept;
std::span<const Form> vhost_forms() noexcept;

// Of the test command: by its operation.
inline constexpr std::uint32_t kOperationOffset = 4;
std::span<const Form> mock_forms() noexcept;

// "{ioas_id=1, iova=0x1000}": what is known of `bytes`; with `before`, only what has changed since then.
std::string show(const Form& form, std::span<const std::byte> bytes, std::span<const std::byte> before = {});
// "IOMMU_IOAS_MAP_READABLE|0x80", "O_RDWR".
std::string show_bits(std::uint64_t value, const Names& names);
std::string show_value(std::uint64_t value, const Names& names);
std::string show_address(std::uint64_t value);
// A position in a VFIO device's file, whose regions begin at `first`: "VFIO_PCI_BAR0_REGION_INDEX+0x80".
std::string show_position(std::uint64_t position, std::uint64_t first);

constexpr const Names* names_or_none(const Names* names = nullptr) { return names; }

// A field of a struct of the ABI: IOMMUFD_FIELD(uapi::IoasMap, flags, bits, &kMap).
#define IOMMUFD_FIELD(type, member, how, ...)                                                              \
    ::iommufd::intercept::Field {                                                                          \
        .name = #member, .offset = offsetof(type, member), .size = sizeof(std::declval<type&>().member),   \
        .show = ::iommufd::intercept::Show::how, .names = ::iommufd::intercept::names_or_none(__VA_ARGS__) \
    }

}  // namespace iommufd::inline v0_1::intercept
