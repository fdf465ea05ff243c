// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A mutex that Clang's -Wthread-safety can check: what it guards is declared, and a use without it is
// a compile error.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define IOMMUFD_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define IOMMUFD_THREAD_ANNOTATION(x)
#endif

#define IOMMUFD_GUARDED_BY(mutex) IOMMUFD_THREAD_ANNOTATION(guarded_by(mutex))
#define IOMMUFD_REQUIRES(mutex) IOMMUFD_THREAD_ANNOTATION(requires_capability(mutex))
#define IOMMUFD_EXCLUDES(mutex) IOMMUFD_THREAD_ANNOTATION(locks_excluded(mutex))

namespace iommufd::inline v0_1::sys {

class IOMMUFD_THREAD_ANNOTATION(capability("mutex")) Mutex {
public:
    void lock() IOMMUFD_THREAD_ANNOTATION(acquire_capability()) { inner_.lock(); }
    void unlock() IOMMUFD_THREAD_ANNOTATION(release_capability()) { inner_.unlock(); }

private:
    friend class Condition;
    std::mutex inner_;
};

class IOMMUFD_THREAD_ANNOTATION(scoped_lockable) Lock {
public:
    explicit Lock(Mutex& mutex) IOMMUFD_THREAD_ANNOTATION(acquire_capability(mutex)) : mutex_(mutex) {
        mutex_.lock();
    }
    ~Lock() IOMMUFD_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

private:
    Mutex& mutex_;
};

// Waits for a change of what a Mutex guards.
class Condition {
public:
    // The caller holds the mutex; it is released while waiting and held again on return.
    void wait(Mutex& mutex) IOMMUFD_REQUIRES(mutex) {
        std::unique_lock held(mutex.inner_, std::adopt_lock);
        ++waiting_;
        inner_.wait(held);
        --waiting_;
        (void)held.release();
    }
    // The caller holds the mutex.
    void notify_all() noexcept {
        if (waiting_ != 0) inner_.notify_all();
    }

private:
    unsigned waiting_ = 0;
    std::condition_variable inner_;
};

}  // namespace iommufd::inline v0_1::sys
