// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "iommufd/core/context.hpp"

namespace iommufd::inline v0_1::core {

// How far unused ids are looked beyond. The kernel gives out the lowest free one, so what a program keeps lies close together, unless it
// makes many objects and destroys the first ones.
enum class Far : std::uint8_t {
    near,  // 4096
    // Until nothing is left, which the kernel tells who has CAP_SYS_RESOURCE; to 2^22 where something stays, or is further: whoever has
    // something beyond that has had as many objects at once, two gigabytes of the kernel's memory. Without the capability to 2^18.
    everywhere,
};

// Destroys every object of the context that can be, whoever made it: for a context that went to another process, which may still have
// it. What devices are attached to stays, and so do the devices. It takes a few seconds at most, or what the last one destroyed takes.
// Returns how many there were.
std::size_t sweep(const Context& context, Far far) noexcept;

}  // namespace iommufd::inline v0_1::core
