// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a user says of an object before it exists, as QEMU's users write it:
//
//     -object iommufd,id=iommufd0,fd=3
//     -object '{"qom-type":"iommufd","id":"iommufd0","fd":"3"}'
//     -device vfio-pci,id=nvme0,host=0000:02:00.0,iommufd=iommufd0
//     -device '{"driver":"vfio-pci","id":"nvme0","host":"0000:02:00.0","iommufd":"iommufd0"}'
//
//     text --parse()--> Definition --Registry::create()--> object
//          <--print()--
//
// The first word is the type. A comma within a value is written twice. Unlike QEMU, a key without a value is
// refused, and so is a key that is given twice.
//
// Errors: EINVAL, and always one line (Error::line()) that names the object, the key, and what would be
// right. They have no side effects.
//
// Threads: values and free functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"
#include "iommufd/object/schema.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::object {

struct Property {
    std::string key;
    std::string value;

    bool operator==(const Property&) const = default;
};

struct Definition {
    std::string type;
    std::string id;
    std::vector<Property> properties = {};  // in the order in which they were written
    std::string origin = {};                // the option as it was written; empty: made by the program

    // The first value of a key; null: it isn't given.
    IOMMUFD_EXPORT const std::string* find(std::string_view key) const noexcept;
};

// Reads the argument of an option, in either form, and checks it. Help is no definition: see help_for().
IOMMUFD_EXPORT Result<Definition> parse(Option option, std::string_view text);

// Whether the table knows the type and its keys, the values make sense, and what is required is there. Not
// whether what they refer to exists.
IOMMUFD_EXPORT Result<void> check(const Definition& definition);

// The argument that parse() would read the same definition from.
IOMMUFD_EXPORT std::string print(const Definition& definition);

}  // namespace iommufd::inline v0_1::object
