// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How many pages are pinned, for which process, and against which limit they count. All programs are one user.
#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>

#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

// Chosen when memory is mapped, and kept with it.
enum class AccountMode : std::uint8_t {
    none,  // with CAP_IPC_LOCK: counted, not limited
    user,  // what all of the user's processes have
    mm,    // what this process has
};

// What counts for one process (Linux: an mm), in pages.
struct PinCount {
    std::uint64_t pinned = 0;  // VmPin
    std::uint64_t locked = 0;  // VmLck
};

// Threads: any; each PinCount that it was given is guarded by it as well.
class Accountant {
public:
    explicit Accountant(std::optional<std::uint64_t> limit_bytes) : limit_bytes_(limit_bytes) {}

    bool limited() const noexcept { return limit_bytes_.has_value(); }

    // Of this process, which asks for itself.
    PinCount& own() noexcept { return own_; }

    // 0, or -ENOMEM with nothing charged.
    int charge(PinCount& process, AccountMode mode, std::uint64_t pages) IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        if (mode != AccountMode::none) {
            std::uint64_t& locked = mode == AccountMode::user ? user_locked_ : process.locked;
            if (limit_bytes_ && locked + pages > *limit_bytes_ / user::kPage) return -ENOMEM;
            locked += pages;
        }
        process.pinned += pages;
        pinned_ += pages;
        return 0;
    }

    void uncharge(PinCount& process, AccountMode mode, std::uint64_t pages) IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        if (mode == AccountMode::user) user_locked_ -= pages;
        if (mode == AccountMode::mm) process.locked -= pages;
        process.pinned -= pages;
        pinned_ -= pages;
    }

    PinCount of(const PinCount& process) const IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        return process;
    }

    // Of all processes together.
    std::uint64_t pinned() const IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        return pinned_;
    }

private:
    const std::optional<std::uint64_t> limit_bytes_;
    mutable sys::Mutex mutex_;
    std::uint64_t pinned_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::uint64_t user_locked_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    PinCount own_;
};

}  // namespace iommufd::inline v0_1::model
