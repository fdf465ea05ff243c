// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/worker.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "model/signal_free_thread.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr Worker::Watch kEnd = 0;

int watch_for(int epoll, int fd, Worker::Watch watch) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = watch}};
    return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

Worker::Worker() : ending_(EventFd::make()), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!ending_ || epoll_ < 0 || watch_for(epoll_, ending_.number(), kEnd) < 0) {
        const int error = errno;
        if (epoll_ >= 0) (void)::close(epoll_);
        throw std::system_error(error, std::generic_category(), "cannot watch eventfds");
    }
    thread_ = start_without_signals([this] { run(); });
}

Worker::~Worker() {
    ending_.signal();
    thread_.join();
    (void)::close(epoll_);
}

Worker::Watch Worker::watch(EventFd eventfd, Handler handler) {
    auto shared = std::make_shared<const Handler>(std::move(handler));
    const sys::Lock lock(mutex_);
    const Watch watch = next_++;
    Watched& watched = watched_[watch];
    watched = {.eventfd = std::move(eventfd), .handler = std::move(shared)};
    if (watch_for(epoll_, watched.eventfd.number(), watch) == 0) return watch;
    watched_.erase(watch);
    throw std::bad_alloc();
}

void Worker::forget(Watch watch) noexcept {
    const sys::Lock lock(mutex_);
    const auto found = watched_.find(watch);
    if (found == watched_.end()) return;
    (void)::epoll_ctl(epoll_, EPOLL_CTL_DEL, found->second.eventfd.number(), nullptr);
    watched_.erase(found);
}

std::shared_ptr<const Worker::Handler> Worker::take_signal(Watch watch) {
    const sys::Lock lock(mutex_);
    const auto found = watched_.find(watch);
    if (found == watched_.end()) return nullptr;
    found->second.eventfd.drain();
    return found->second.handler;
}

void Worker::run() {
    while (true) {
        epoll_event event{};
        if (::epoll_wait(epoll_, &event, 1, -1) != 1) continue;
        if (event.data.u64 == kEnd) return;
        try {
            if (const auto handler = take_signal(event.data.u64)) (*handler)();
        } catch (const std::bad_alloc&) {
            continue;  // the signal is lost, as an interrupt would be
        }
    }
}

}  // namespace iommufd::inline v0_1::model
