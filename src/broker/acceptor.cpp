// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/acceptor.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <utility>

namespace iommufd::inline v0_1::broker {

using asio::posix::descriptor_base;

struct Acceptor::State : std::enable_shared_from_this<Acceptor::State> {
    State(asio::io_context& loop, sys::Fd its_listening, std::function<void(sys::Fd)> its_admit)
        : listening(std::move(its_listening)), admit(std::move(its_admit)), socket(loop), pause(loop) {
        const int flags = ::fcntl(listening.number(), F_GETFL);
        (void)::fcntl(listening.number(), F_SETFL, flags | O_NONBLOCK);
        socket.assign(listening.number());
    }
    ~State() { (void)socket.release(); }

    void wait_for_clients() {
        socket.async_wait(descriptor_base::wait_read,
                          [weak = weak_from_this()](const asio::error_code& error) {
                              if (const auto self = weak.lock(); self && !error) self->accept();
                          });
    }

    // Some of those who wait; others have their turn after them.
    void accept() {
        constexpr int kAtOnce = 16;
        for (int i = 0; i < kAtOnce; ++i) {
            const int fd = ::accept4(listening.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (fd >= 0) {
                admit({sys::host_kernel(), fd});
            } else if (errno == EAGAIN) {
                break;
            } else if (errno != ECONNABORTED && errno != EINTR) {
                return pause_accepting();
            }
        }
        wait_for_clients();
    }

    // No descriptors, no memory: whoever waits there waits until there are.
    void pause_accepting() {
        constexpr std::chrono::milliseconds kPause{100};
        pause.expires_after(kPause);
        pause.async_wait([weak = weak_from_this()](const asio::error_code& error) {
            if (const auto self = weak.lock(); self && !error) self->wait_for_clients();
        });
    }

    sys::Fd listening;
    std::function<void(sys::Fd)> admit;
    asio::posix::stream_descriptor socket;
    asio::steady_timer pause;
};

Acceptor::Acceptor(asio::io_context& loop, sys::Fd listening, std::function<void(sys::Fd)> admit)
    : state_(std::make_shared<State>(loop, std::move(listening), std::move(admit))) {}
Acceptor::~Acceptor() = default;

void Acceptor::start() { state_->wait_for_clients(); }

}  // namespace iommufd::inline v0_1::broker
