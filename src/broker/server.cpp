// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/server.hpp"

#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <cerrno>
#include <new>
#include <optional>
#include <unordered_set>

#include "broker/acceptor.hpp"
#include "broker/kubevirt.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using asio::posix::descriptor_base;
using asio::posix::stream_descriptor;

struct Connection {
    explicit Connection(asio::io_context& loop) : socket(loop), patience(loop) {}

    stream_descriptor socket;
    asio::steady_timer patience;
    std::shared_ptr<Holder> client;
    std::string input;
    std::string output;
    std::vector<int> descriptors;  // that go with the output's first byte
    bool is_reading = false;
    bool is_served = false;     // a request of it is under way
    bool ends_then = false;     // when the output is gone
    bool has_deadline = false;  // by which it must have done what it does
};

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
    using Handle = std::shared_ptr<Connection>;

    State(asio::io_context& its_loop, asio::thread_pool& its_pool, sys::Fd its_listening,
          Broker::Options its_broker, ServerOptions its_options)
        : loop(its_loop),
          pool(its_pool),
          options(its_options),
          retry(its_loop),
          broker(with_run(std::move(its_broker))),
          acceptor(its_loop, std::move(its_listening), [this](sys::Fd socket) { admit(std::move(socket)); }) {
        acceptor.start();
    }

    // Work is done by the pool; what follows it by the loop, which has something to do until then.
    Broker::Options with_run(Broker::Options its) {
        its.run = [this](Broker::Work work, Broker::Work then) {
            asio::post(pool, [&loop = loop, guard = asio::make_work_guard(loop), work = std::move(work),
                              then = std::move(then)]() mutable {
                work();
                asio::post(loop, std::move(then));
            });
        };
        return its;
    }

    void admit(sys::Fd socket) try {
        if (connections.size() >= options.most_clients) return;
        auto peer = Peer::of(socket.number());
        if (!peer) return;
        const auto connection = std::make_shared<Connection>(loop);
        asio::error_code error;
        connection->socket.assign(socket.number(), error);
        if (error) return;
        (void)socket.release();
        connections.insert(connection);
        connection->client = broker.admit(*std::move(peer));
        // Most have asked by now.
        read(connection);
    } catch (const std::bad_alloc&) {
        // It is hung up on.
    }

    // Hangs up unless it is done in time: what the client does now, not each byte of it.
    void be_patient(const Handle& connection) {
        if (std::exchange(connection->has_deadline, true)) return;
        connection->patience.expires_after(options.patience);
        connection->patience.async_wait(
            [weak = weak_from_this(), one = std::weak_ptr(connection)](const asio::error_code& error) {
                const auto self = weak.lock();
                const auto still = one.lock();
                if (self && still && !error && still->has_deadline) self->drop(still);
            });
    }
    static void be_calm(const Handle& connection) {
        connection->has_deadline = false;
        connection->patience.cancel();
    }

    template <void (State::*member)(const Handle&)>
    void wait(const Handle& connection, descriptor_base::wait_type what) {
        connection->socket.async_wait(
            what, [weak = weak_from_this(), one = std::weak_ptr(connection)](const asio::error_code& error) {
                const auto self = weak.lock();
                const auto still = one.lock();
                if (self && still && !error && still->socket.is_open()) ((*self).*member)(still);
            });
    }
    void wait_to_read(const Handle& connection) {
        // It may do nothing for long while it is served, or has something and asks for no more.
        const bool owes_words = !Broker::has_anything(*connection->client) || !connection->input.empty();
        if (owes_words && !connection->is_served && connection->output.empty()) be_patient(connection);
        if (!std::exchange(connection->is_reading, true))
            wait<&State::read>(connection, descriptor_base::wait_read);
    }

    void read(const Handle& connection) try {
        connection->is_reading = false;
        std::array<char, 4096> buffer;
        sys::Received received =
            sys::receive_some(sys::host_kernel(), connection->socket.native_handle(), buffer, 0);
        if (received.bytes == -EAGAIN || received.bytes == -EINTR) return wait_to_read(connection);
        if (received.bytes <= 0 || received.too_many) return drop(connection);
        connection->input.append(buffer.data(), static_cast<std::size_t>(received.bytes));
        // Who is being served may say a little more meanwhile, and hang up.
        if (connection->input.size() > sizeof(Header) + kMostBytes + buffer.size()) return drop(connection);
        if (!connection->is_served && connection->output.empty()) return serve(connection);
        wait_to_read(connection);
    } catch (const std::bad_alloc&) {
        drop(connection);
    }

    // Its next message, if that is whole.
    void serve(const Handle& connection) try {
        std::string& input = connection->input;
        if (input.size() < sizeof(Header)) return wait_to_read(connection);
        const auto length = read_header(std::as_bytes(std::span(input).first<sizeof(Header)>()));
        if (!length) return end(connection, length.error());
        if (input.size() < sizeof(Header) + *length) return wait_to_read(connection);
        auto request = read_request(std::string_view(input).substr(sizeof(Header), *length));
        input.erase(0, sizeof(Header) + *length);
        if (!request) return end(connection, request.error());
        connection->is_served = true;
        be_calm(connection);
        broker.get(connection->client, *std::move(request),
                   [this, one = std::weak_ptr(connection)](Result<Grant> granted) {
                       if (const auto still = one.lock()) answer(still, std::move(granted));
                   });
        if (connection->is_served) wait_to_read(connection);
    } catch (const std::bad_alloc&) {
        drop(connection);
    }

    void answer(const Handle& connection, Result<Grant> granted) {
        connection->is_served = false;
        connection->output = granted ? encode(granted->answer) : encode(granted.error());
        if (granted) connection->descriptors = std::move(granted->descriptors);
        send(connection);
    }

    // Says what is wrong, and hangs up.
    void end(const Handle& connection, const Error& error) {
        connection->output = encode(error);
        connection->ends_then = true;
        send(connection);
    }

    void send(const Handle& connection) {
        while (!connection->output.empty()) {
            const ssize_t sent = sys::send_some(connection->socket.native_handle(), connection->output,
                                                connection->descriptors);
            if (sent == -EINTR) continue;
            if (sent == -EAGAIN) {
                be_patient(connection);
                return wait<&State::send>(connection, descriptor_base::wait_write);
            }
            if (sent < 0) return drop(connection);
            connection->descriptors.clear();
            connection->output.erase(0, static_cast<std::size_t>(sent));
        }
        if (connection->ends_then) return drop(connection);
        if (Broker::has_anything(*connection->client)) be_calm(connection);
        if (connection->input.empty()) return wait_to_read(connection);
        // Others have their turn first.
        asio::post(loop, [weak = weak_from_this(), one = std::weak_ptr(connection)] {
            const auto self = weak.lock();
            const auto still = one.lock();
            if (self && still && still->socket.is_open()) self->serve(still);
        });
    }

    void drop(const Handle& connection) {
        asio::error_code ignored;
        connection->socket.close(ignored);
        be_calm(connection);
        if (connections.erase(connection) == 0) return;
        if (connection->client) broker.release(connection->client);
        watch_devices();
    }

    // As long as somebody has what should be free.
    void watch_devices() {
        if (std::exchange(watches, true)) return;
        retry.expires_after(options.retry);
        retry.async_wait([weak = weak_from_this()](const asio::error_code& error) {
            const auto self = weak.lock();
            if (!self || error) return;
            self->watches = false;
            if (!self->broker.has_devices_to_retry()) return;
            self->broker.retry_devices();
            self->watch_devices();
        });
    }

    asio::io_context& loop;
    asio::thread_pool& pool;
    ServerOptions options;
    asio::steady_timer retry;
    bool watches = false;
    std::unordered_set<Handle> connections;
    Broker broker;
    Acceptor acceptor;
    std::optional<KubevirtSocket> kubevirt;
};

Server::Server(asio::io_context& loop, asio::thread_pool& pool, sys::Fd listening, Broker::Options broker,
               ServerOptions options)
    : state_(std::make_shared<State>(loop, pool, std::move(listening), std::move(broker), options)) {}
Server::~Server() = default;

void Server::serve_kubevirt(sys::Fd listening) {
    const ServerOptions& options = state_->options;
    state_->kubevirt.emplace(state_->loop, std::move(listening), state_->broker, options.most_clients,
                             options.patience);
}

std::size_t Server::clients() const noexcept { return state_->connections.size(); }

}  // namespace iommufd::inline v0_1::broker
