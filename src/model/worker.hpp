// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The machine's one thread: it waits for eventfds that programs signal, and runs what they stand for.
// It blocks all signals, and ends with the Worker.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "model/event_fd.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class Worker {
public:
    using Handler = std::function<void()>;
    using Watch = std::uint64_t;  // 0: none

    Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker();

    // From now on the handler runs in the worker's thread after each signal.
    Watch watch(EventFd eventfd, Handler handler) IOMMUFD_EXCLUDES(mutex_);
    // The eventfd is let go of. The handler may still be in its last run when this returns; what it uses
    // must outlive the worker.
    void forget(Watch watch) noexcept IOMMUFD_EXCLUDES(mutex_);

private:
    struct Watched {
        EventFd eventfd;
        std::shared_ptr<const Handler> handler;
    };

    void run();
    // Takes the signal away. Empty where the watch is gone.
    std::shared_ptr<const Handler> take_signal(Watch watch) IOMMUFD_EXCLUDES(mutex_);

    EventFd ending_;
    int epoll_;
    sys::Mutex mutex_;
    std::map<Watch, Watched> watched_ IOMMUFD_GUARDED_BY(mutex_);
    Watch next_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    std::thread thread_;
};

}  // namespace iommufd::inline v0_1::model
