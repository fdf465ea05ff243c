// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A mutex of what is nearly always one thread's: its owner, the first that locks it, takes it without an atomic exchange and without a
// fence, as long as no other thread locks it too. From then on it is a spin lock for all. Who only claims it, to take away what it guards,
// leaves it to its owner.
//
//     the owner:   busy = true;            compiler's fence;  is the owner still I? then it is held
//     a claim:     owner = nobody;         membarrier;        wait until it isn't busy; ...; owner = the one before
//
// Held so shortly that a waiter spins, and sleeps after a while, in case the holder was preempted.
#pragma once

#include <atomic>
#include <cstdint>

#include "iommufd/visibility.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::sys {

class IOMMUFD_EXPORT IOMMUFD_THREAD_ANNOTATION(capability("mutex")) OwnedMutex {
public:
    enum class Hold : std::uint8_t { as_owner, as_any };

    // `has_membarrier`: without it (sys/membarrier.hpp) it has no owner.
    explicit OwnedMutex(bool has_membarrier) noexcept : may_have_owner_(has_membarrier) {}

    Hold lock() noexcept IOMMUFD_THREAD_ANNOTATION(acquire_capability()) {
        if (lock_as_owner()) return Hold::as_owner;
        lock_as_any(__builtin_thread_pointer());
        return Hold::as_any;
    }
    // Only if this thread is the owner: false, and it isn't held.
    bool lock_as_owner() noexcept IOMMUFD_THREAD_ANNOTATION(try_acquire_capability(true)) {
        const void* const self = __builtin_thread_pointer();
        if (owner_.load(std::memory_order_relaxed) != self) return false;
        busy_.store(true, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (owner_.load(std::memory_order_acquire) == self) return true;
        busy_.store(false, std::memory_order_release);
        return false;
    }
    void unlock(Hold hold) noexcept IOMMUFD_THREAD_ANNOTATION(release_capability()) {
        (hold == Hold::as_owner ? busy_ : held_).store(false, std::memory_order_release);
    }

    // Of whoever isn't a user. Returns the owner that release() gives back.
    const void* claim() noexcept IOMMUFD_THREAD_ANNOTATION(acquire_capability());
    void release(const void* owner) noexcept IOMMUFD_THREAD_ANNOTATION(release_capability());

private:
    void lock_as_any(const void* self) noexcept;
    void spin() noexcept;
    const void* dispossess() noexcept;

    const bool may_have_owner_;
    bool is_shared_ = false;                    // has been locked by two threads; of who has held_
    std::atomic<const void*> owner_ = nullptr;  // its thread pointer; changed by who has held_
    std::atomic<bool> busy_ = false;            // by the owner, who alone writes it
    std::atomic<bool> held_ = false;            // by anybody else
};

class IOMMUFD_THREAD_ANNOTATION(scoped_lockable) OwnedLock {
public:
    explicit OwnedLock(OwnedMutex& mutex) noexcept IOMMUFD_THREAD_ANNOTATION(acquire_capability(mutex))
        : mutex_(mutex), hold_(mutex.lock()) {}
    ~OwnedLock() IOMMUFD_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(hold_); }
    OwnedLock(const OwnedLock&) = delete;
    OwnedLock& operator=(const OwnedLock&) = delete;

private:
    OwnedMutex& mutex_;
    const OwnedMutex::Hold hold_;
};

class IOMMUFD_THREAD_ANNOTATION(scoped_lockable) OwnedClaim {
public:
    explicit OwnedClaim(OwnedMutex& mutex) noexcept IOMMUFD_THREAD_ANNOTATION(acquire_capability(mutex))
        : mutex_(mutex), owner_(mutex.claim()) {}
    ~OwnedClaim() IOMMUFD_THREAD_ANNOTATION(release_capability()) { mutex_.release(owner_); }
    OwnedClaim(const OwnedClaim&) = delete;
    OwnedClaim& operator=(const OwnedClaim&) = delete;

private:
    OwnedMutex& mutex_;
    const void* const owner_;
};

}  // namespace iommufd::inline v0_1::sys
