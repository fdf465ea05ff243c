// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "core/sweep.hpp"

#include <cerrno>
#include <chrono>
#include <optional>

#include "core/node.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kNear = 1U << 12;
constexpr std::uint32_t kFar = 1U << 18;
constexpr std::uint32_t kFarthest = 1U << 22;
constexpr std::chrono::seconds kPatience{5};

struct Round {
    std::size_t destroyed = 0;
    bool is_kept = false;  // something that others stand on
    bool has_ended = false;
};

Round destroy_all(const ContextNode& context, std::uint32_t gap, Clock::time_point deadline) noexcept {
    Round round;
    std::uint32_t last = 0;  // that there was
    for (std::uint32_t id = 1; id - last <= gap; ++id) {
        if (id % kNear == 0 && Clock::now() > deadline) {
            round.has_ended = true;
            break;
        }
        uapi::Destroy command{.size = sizeof command, .id = id};
        const int result = context.ioctl(uapi::kDestroy, &command);
        if (result == -ENOENT) continue;
        if (result < 0 && result != -EBUSY) {
            round.has_ended = true;
            break;
        }
        last = id;
        round.is_kept |= result < 0;
        round.destroyed += result >= 0 ? 1 : 0;
    }
    return round;
}

// The mode of accounting can be set, to what it is, while there is no object. Nothing: that takes CAP_SYS_RESOURCE.
std::optional<bool> is_empty(const ContextNode& context) noexcept {
    uapi::Option mode{.size = sizeof mode,
                      .option_id = uapi::kOptionRlimitMode,
                      .op = uapi::kOptionGet,
                      .reserved = 0,
                      .object_id = 0,
                      .val64 = 0};
    if (context.ioctl(uapi::kOption, &mode) < 0) return std::nullopt;
    mode.op = uapi::kOptionSet;
    const int result = context.ioctl(uapi::kOption, &mode);
    return result >= 0 || result == -EBUSY ? std::optional(result >= 0) : std::nullopt;
}

}  // namespace

std::size_t sweep(const Context& context, Far far) noexcept {
    const ContextNode& node = *context.node();
    const auto deadline = Clock::now() + kPatience;
    std::size_t destroyed = 0;
    for (const std::uint32_t gap : {kNear, kFar, kFarthest}) {
        if (far == Far::everywhere && is_empty(node).value_or(gap == kFarthest)) break;
        // What others stand on goes in a later round than they.
        for (bool goes_on = true; goes_on;) {
            const Round round = destroy_all(node, gap, deadline);
            destroyed += round.destroyed;
            if (round.has_ended) return destroyed;
            goes_on = round.is_kept && round.destroyed != 0;
        }
        if (far == Far::near) break;
    }
    return destroyed;
}

}  // namespace iommufd::inline v0_1::core
