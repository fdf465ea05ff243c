// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/worker.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <csignal>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

namespace iommufd::inline v0_1::model {

Worker::Worker() {
    const int fd = ::eventfd(0, EFD_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    (void)EventFd::take(fd, changed_);
    (void)::close(fd);
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        thread_ = std::thread([this] { run(); });
    } catch (...) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Worker::~Worker() {
    {
        const sys::Lock lock(mutex_);
        ending_ = true;
    }
    wake();
    thread_.join();
}

void Worker::wake() const { changed_.signal(); }

Worker::Watch Worker::watch(EventFd eventfd, Handler handler) {
    auto watched = std::make_shared<const Watched>(Watched{std::move(eventfd), std::move(handler)});
    Watch id = 0;
    {
        const sys::Lock lock(mutex_);
        id = next_++;
        watched_.emplace(id, std::move(watched));
    }
    wake();
    return id;
}

void Worker::forget(Watch watch) {
    const sys::Lock lock(mutex_);
    watched_.erase(watch);  // the thread may poll it once more, and finds no handler then
}

void Worker::run() {
    while (!ended()) {
        try {
            serve_once();
        } catch (const std::bad_alloc&) {
            continue;  // a signal may be lost, as an interrupt would
        }
    }
}

bool Worker::ended() {
    const sys::Lock lock(mutex_);
    return ending_;
}

void Worker::serve_once() {
    std::vector<pollfd> polled{{.fd = changed_.number(), .events = POLLIN, .revents = 0}};
    std::vector<std::shared_ptr<const Watched>> handlers;
    {
        const sys::Lock lock(mutex_);
        for (const auto& [id, watched] : watched_) {
            polled.push_back({.fd = watched->eventfd.number(), .events = POLLIN, .revents = 0});
            handlers.push_back(watched);
        }
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) return;
    if (polled[0].revents != 0) changed_.drain();
    for (std::size_t i = 0; i < handlers.size(); ++i) {
        if (polled[i + 1].revents == 0) continue;
        handlers[i]->eventfd.drain();
        handlers[i]->handler();
    }
}

}  // namespace iommufd::inline v0_1::model
