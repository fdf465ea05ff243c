// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the running kernel's iommufd can do, found by asking it: each command is tried in a way that changes
// nothing (no such object, or a flag that no kernel has).
//
// Threads: a value.
#pragma once

#include <bitset>
#include <span>

#include "iommufd/core/context.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

class IOMMUFD_EXPORT Capabilities {
public:
    static Capabilities probe(const core::Context& context) noexcept;

    // Whether the kernel has the ioctl.
    bool has(Operation operation) const noexcept;
    // Nothing if it has; else ENOTTY, naming the first kernel that does.
    Result<void> require(Operation operation) const;

    // The ioctls of iommufd, in the order of their numbers.
    static std::span<const Operation> all() noexcept;

private:
    std::bitset<256> has_;
};

}  // namespace iommufd::inline v0_1
