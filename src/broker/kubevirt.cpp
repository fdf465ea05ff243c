// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/kubevirt.hpp"

#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <new>
#include <unordered_set>
#include <utility>

#include "broker/acceptor.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using asio::posix::descriptor_base;
using asio::posix::stream_descriptor;

struct Exchange {
    explicit Exchange(asio::io_context& loop) : socket(loop), process(loop), patience(loop) {}

    stream_descriptor socket;
    stream_descriptor process;  // a pidfd: readable when it has ended
    asio::steady_timer patience;
    std::shared_ptr<Holder> client;
};

}  // namespace

struct KubevirtSocket::State : std::enable_shared_from_this<KubevirtSocket::State> {
    using Handle = std::shared_ptr<Exchange>;

    State(asio::io_context& its_loop, sys::Fd listening, Broker& its_broker, std::size_t most,
          std::chrono::milliseconds its_patience)
        : loop(its_loop),
          broker(its_broker),
          most_clients(most),
          patience(its_patience),
          acceptor(its_loop, std::move(listening), [this](sys::Fd socket) { admit(std::move(socket)); }) {
        acceptor.start();
    }

    void admit(sys::Fd socket) try {
        if (exchanges.size() >= most_clients) return;
        auto peer = Peer::of(socket.number());
        if (!peer) return;
        sys::Fd process(sys::host_kernel(), sys::host_kernel().dup(peer->handle.number()));
        if (!process) return;
        const auto exchange = std::make_shared<Exchange>(loop);
        if (!assign(exchange->socket, std::move(socket)) || !assign(exchange->process, std::move(process)))
            return;
        exchanges.insert(exchange);
        exchange->client = broker.admit(*std::move(peer));
        exchange->patience.expires_after(patience);
        exchange->patience.async_wait(
            [weak = weak_from_this(), one = std::weak_ptr(exchange)](const asio::error_code& error) {
                const auto self = weak.lock();
                const auto still = one.lock();
                if (self && still && !error) self->drop(still);
            });
        broker.get(exchange->client, {.iommufd = true},
                   [this, one = std::weak_ptr(exchange)](Result<Grant> granted) {
                       if (const auto still = one.lock()) give(still, granted);
                   });
    } catch (const std::bad_alloc&) {
        // It is hung up on.
    }

    static bool assign(stream_descriptor& to, sys::Fd from) {
        asio::error_code error;
        to.assign(from.number(), error);
        if (!error) (void)from.release();
        return !error;
    }

    void give(const Handle& exchange, const Result<Grant>& granted) {
        constexpr char kByte = 0;
        if (!granted ||
            sys::send_some(exchange->socket.native_handle(), {&kByte, 1}, granted->descriptors) != 1)
            return drop(exchange);
        wait<&State::confirm>(exchange, exchange->socket);
    }

    template <void (State::*member)(const Handle&)>
    void wait(const Handle& exchange, stream_descriptor& what) {
        what.async_wait(descriptor_base::wait_read, [weak = weak_from_this(), one = std::weak_ptr(exchange)](
                                                        const asio::error_code& error) {
            const auto self = weak.lock();
            const auto still = one.lock();
            if (self && still && !error && self->exchanges.contains(still)) ((*self).*member)(still);
        });
    }

    void confirm(const Handle& exchange) try {
        std::array<char, 1> byte;
        const sys::Received received =
            sys::receive_some(sys::host_kernel(), exchange->socket.native_handle(), byte, 0);
        if (received.bytes == -EAGAIN || received.bytes == -EINTR)
            return wait<&State::confirm>(exchange, exchange->socket);
        if (received.bytes != 1 || received.too_many) return drop(exchange);
        exchange->patience.cancel();
        broker.part_with_iommufd(exchange->client);
        asio::error_code ignored;
        exchange->socket.close(ignored);
        wait<&State::drop>(exchange, exchange->process);
    } catch (const std::bad_alloc&) {
        drop(exchange);
    }

    void drop(const Handle& exchange) {
        const Handle kept = exchange;
        if (exchanges.erase(kept) == 0) return;
        asio::error_code ignored;
        kept->socket.close(ignored);
        kept->process.close(ignored);
        kept->patience.cancel();
        if (kept->client) broker.release(kept->client);
    }

    asio::io_context& loop;
    Broker& broker;
    std::size_t most_clients;
    std::chrono::milliseconds patience;
    std::unordered_set<Handle> exchanges;
    Acceptor acceptor;
};

KubevirtSocket::KubevirtSocket(asio::io_context& loop, sys::Fd listening, Broker& broker,
                               std::size_t most_clients, std::chrono::milliseconds patience)
    : state_(std::make_shared<State>(loop, std::move(listening), broker, most_clients, patience)) {}
KubevirtSocket::~KubevirtSocket() = default;

}  // namespace iommufd::inline v0_1::broker
