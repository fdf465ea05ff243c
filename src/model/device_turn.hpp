// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device acts in one thread at a time. Another device whose DMA reaches its registers waits for its turn, but not for what
// waits for it: then nobody answers, as on a bus that would stand still.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class IOMMUFD_THREAD_ANNOTATION(capability("mutex")) DeviceTurn {
public:
    void lock() IOMMUFD_THREAD_ANNOTATION(acquire_capability()) {
        mutex_.lock();
        begin();
    }
    void unlock() IOMMUFD_THREAD_ANNOTATION(release_capability()) {
        acting = outer_;
        holder_ = std::thread::id();
        mutex_.unlock();
    }
    // For the device that acts in this thread. False: it would wait for itself, or longer than any bus does.
    bool lock_for_peer() IOMMUFD_THREAD_ANNOTATION(try_acquire_capability(true)) {
        DeviceTurn* const asking = acting;
        if (holder_ == std::this_thread::get_id() || asking == nullptr) return false;
        constexpr std::chrono::seconds kTimeout{1};
        const auto end = std::chrono::steady_clock::now() + kTimeout;
        bool locked = false;
        asking->waits_for_ = this;
        while (!(locked = mutex_.try_lock()) && !waits_for(asking) && std::chrono::steady_clock::now() < end)
            std::this_thread::yield();
        asking->waits_for_ = nullptr;
        if (locked) begin();
        return locked;
    }

private:
    void begin() {
        holder_ = std::this_thread::get_id();
        outer_ = acting;
        acting = this;
    }
    bool waits_for(const DeviceTurn* other) const {
        constexpr int kMostInTurn = 64;
        const DeviceTurn* next = waits_for_;
        for (int i = 0; i < kMostInTurn && next != nullptr && next != other; ++i) next = next->waits_for_;
        return next == other;
    }

    static inline thread_local DeviceTurn* acting = nullptr;

    std::mutex mutex_;
    std::atomic<std::thread::id> holder_;
    std::atomic<DeviceTurn*> waits_for_ = nullptr;
    DeviceTurn* outer_ = nullptr;  // that acts in the same thread, and waits for this one's answer
};

class IOMMUFD_THREAD_ANNOTATION(scoped_lockable) TurnLock {
public:
    explicit TurnLock(DeviceTurn& turn) IOMMUFD_THREAD_ANNOTATION(acquire_capability(turn)) : turn_(turn) {
        turn_.lock();
    }
    ~TurnLock() IOMMUFD_THREAD_ANNOTATION(release_capability()) { turn_.unlock(); }
    TurnLock(const TurnLock&) = delete;
    TurnLock& operator=(const TurnLock&) = delete;

private:
    DeviceTurn& turn_;
};

}  // namespace iommufd::inline v0_1::model
