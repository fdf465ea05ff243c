// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/owned_mutex.hpp"

#include <chrono>
#include <thread>

#include "sys/membarrier.hpp"

namespace iommufd::inline v0_1::sys {
namespace {

template <class Condition>
void spin_until(Condition&& condition) noexcept {
    for (int tries = 0; !condition(); ++tries)
        if (tries > 100) std::this_thread::sleep_for(std::chrono::microseconds(20));
}

}  // namespace

void OwnedMutex::spin() noexcept {
    spin_until([&] { return !held_.exchange(true, std::memory_order_acquire); });
}

// The caller has held_; afterwards nobody else is inside.
const void* OwnedMutex::dispossess() noexcept {
    const void* const owner = owner_.load(std::memory_order_relaxed);
    if (owner == nullptr || owner == __builtin_thread_pointer()) return owner;
    owner_.store(nullptr, std::memory_order_relaxed);
    membarrier();
    spin_until([&] { return !busy_.load(std::memory_order_acquire); });
    return owner;
}

void OwnedMutex::lock_as_any(const void* self) noexcept {
    spin();
    if (!may_have_owner_ || is_shared_) return;
    const void* const owner = dispossess();
    if (owner == nullptr) owner_.store(self, std::memory_order_release);
    is_shared_ = owner != nullptr && owner != self;
}

const void* OwnedMutex::claim() noexcept {
    spin();
    return dispossess();
}

void OwnedMutex::release(const void* owner) noexcept {
    owner_.store(owner, std::memory_order_release);
    held_.store(false, std::memory_order_release);
}

}  // namespace iommufd::inline v0_1::sys
