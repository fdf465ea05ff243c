// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "core/sweep.hpp"

#include <cerrno>
#include <cstdint>

#include "core/node.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {

std::size_t sweep(const Context& context) noexcept {
    constexpr std::uint32_t kFarEnough = 4096;
    std::size_t destroyed = 0;
    // What others stand on goes in a later round than they.
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        bool is_kept = false;
        std::uint32_t last = 0;  // that there was
        for (std::uint32_t id = 1; id - last <= kFarEnough; ++id) {
            uapi::Destroy command{.size = sizeof command, .id = id};
            const int result = context.node()->ioctl(uapi::kDestroy, &command);
            if (result == -ENOENT) continue;
            if (result < 0 && result != -EBUSY) return destroyed;
            last = id;
            is_kept |= result < 0;
            goes_on |= result >= 0;
            destroyed += result >= 0 ? 1 : 0;
        }
        goes_on &= is_kept;
    }
    return destroyed;
}

}  // namespace iommufd::inline v0_1::core
