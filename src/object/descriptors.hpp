// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The descriptors that the definitions of one call give to their objects.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "iommufd/object/definition.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::object {

// An object that exists already, and the open file that it stands on (-1: none).
struct Known {
    const Definition* definition;
    int descriptor;
};

// Refuses a number that two objects would get, one that an object has, one of an open file that another
// number stands for too, and one that isn't an open device node. Touches none of them.
Result<void> check_descriptors(sys::Kernel& kernel, std::span<const Definition> definitions,
                               std::span<const Known> known);

// Owns them from the time that the first object is created; what no object has taken is closed with this.
class Descriptors {
public:
    // Sets them close-on-exec.
    static Descriptors take(sys::Kernel& kernel, std::span<const Definition> definitions);

    // For the object that adopts it. Must be the last step before that, since nobody owns it in between.
    int release(int number) noexcept;

private:
    std::vector<sys::Fd> owned_;
};

}  // namespace iommufd::inline v0_1::object
