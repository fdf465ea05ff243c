// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/server.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <list>

#include "error/guarded.hpp"
#include "monitor/listening_socket.hpp"
#include "monitor/session.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using asio::posix::descriptor_base;
using asio::posix::stream_descriptor;

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
    struct Client {
        Client(asio::io_context& loop, Monitor& monitor) : socket(loop), session(monitor) {}
        stream_descriptor socket;
        Session session;
        bool reading = false;
        bool writing = false;
        bool turn_comes = false;
        bool has_ended = false;  // it says nothing more, but may still read
    };
    using Handle = std::shared_ptr<Client>;

    State(asio::io_context& its_loop, Monitor& its_monitor, ListeningSocket its_socket)
        : loop(its_loop),
          monitor(its_monitor),
          listening(std::move(its_socket)),
          acceptor(its_loop, listening.fd()),
          timer(its_loop) {}
    ~State() { (void)acceptor.release(); }

    void wait_for_clients() {
        acceptor.async_wait(descriptor_base::wait_read,
                            [self = weak_from_this()](const asio::error_code& error) {
                                if (const auto state = self.lock(); state && !error) state->accept();
                            });
    }

    void accept() {
        const int fd = ::accept4(listening.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        const bool is_exhausted = fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR;
        if (fd >= 0) admit({sys::host_kernel(), fd});
        if (!is_exhausted) return wait_for_clients();
        // No descriptors, no memory: whoever waits there waits until there are.
        constexpr std::chrono::milliseconds kPause{100};
        timer.expires_after(kPause);
        timer.async_wait([self = weak_from_this()](const asio::error_code& error) {
            if (const auto state = self.lock(); state && !error) state->wait_for_clients();
        });
    }

    void admit(sys::Fd connection) try {
        if (clients.size() == kMostClients) return;
        const auto client = std::make_shared<Client>(loop, monitor);
        clients.reserve(clients.size() + 1);
        asio::error_code error;
        client->socket.assign(connection.number(), error);
        if (error) return;
        (void)connection.release();
        clients.push_back(client);
        client->session.on_told([this, weak = std::weak_ptr(client)] { post(weak, &State::go_on); });
        go_on(client);
    } catch (const std::bad_alloc&) {
        // It is hung up on, if it isn't in the list already.
    }

    // Does what there is to do for a client: to send, to take its turn, to listen.
    void go_on(const Handle& client) try {
        send(*client);
        const Session& session = client->session;
        const bool is_done = client->has_ended && !session.has_messages() && session.output().empty();
        if (session.is_broken() || is_done) return drop(client);
        if (!session.output().empty() && !client->writing) wait_to_write(client);
        if (session.output().size() >= Session::kEnoughOutput) return;
        if (session.has_messages()) {
            if (!std::exchange(client->turn_comes, true)) post(client, &State::take_a_turn);
        } else if (!client->reading && !client->has_ended) {
            wait_to_read(client);
        }
    } catch (const std::bad_alloc&) {
        drop(client);
    }

    // Calls a member with the client, if both are still there then, when the loop comes to it.
    void post(const std::weak_ptr<Client>& client, void (State::*member)(const Handle&)) {
        asio::post(loop, [self = weak_from_this(), client, member] {
            const auto state = self.lock();
            const auto one = client.lock();
            if (state && one && one->socket.is_open()) (*state.*member)(one);
        });
    }

    void take_a_turn(const Handle& client) {
        client->turn_comes = false;
        (void)client->session.handle_one();
        go_on(client);
    }

    void wait_to_read(const Handle& client) {
        client->reading = true;
        client->socket.async_wait(
            descriptor_base::wait_read,
            [self = weak_from_this(), weak = std::weak_ptr(client)](const asio::error_code& error) {
                const auto state = self.lock();
                const auto one = weak.lock();
                if (!state || !one || error) return;
                one->reading = false;
                state->read(one);
                state->go_on(one);
            });
    }

    void read(const Handle& client) noexcept try {
        std::array<char, 4096> buffer;
        sys::Received received =
            sys::receive_some(monitor.registry().kernel(), client->socket.native_handle(), buffer,
                              PassedDescriptors::kMostInAMessage);
        if (received.bytes == -EAGAIN || received.bytes == -EINTR) return;
        if (received.too_many || received.bytes < 0) return drop(client);
        if (received.bytes == 0) {
            client->has_ended = true;
            return;
        }
        client->session.receive({buffer.data(), static_cast<std::size_t>(received.bytes)},
                                std::move(received.descriptors));
    } catch (const std::bad_alloc&) {
        drop(client);
    }

    void wait_to_write(const Handle& client) {
        client->writing = true;
        client->socket.async_wait(
            descriptor_base::wait_write,
            [self = weak_from_this(), weak = std::weak_ptr(client)](const asio::error_code& error) {
                const auto state = self.lock();
                const auto one = weak.lock();
                if (!state || !one || error) return;
                one->writing = false;
                state->go_on(one);
            });
    }

    static void send(Client& client) noexcept {
        while (client.socket.is_open() && !client.session.output().empty()) {
            const std::string_view output = client.session.output();
            const ssize_t count = ::send(client.socket.native_handle(), output.data(), output.size(),
                                         MSG_NOSIGNAL | MSG_DONTWAIT);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0 && errno == EAGAIN) return;
            // Where nobody reads it any more, what was said before is still done.
            client.session.sent(count < 0 ? output.size() : static_cast<std::size_t>(count));
        }
    }

    void drop(const Handle& client) noexcept {
        asio::error_code ignored;
        client->socket.close(ignored);
        std::erase(clients, client);
    }

    asio::io_context& loop;
    Monitor& monitor;
    ListeningSocket listening;
    stream_descriptor acceptor;
    asio::steady_timer timer;
    std::vector<Handle> clients;
};

Result<std::unique_ptr<Server>> Server::listen(asio::io_context& loop, Monitor& monitor,
                                               const SocketAddress& address) {
    return guarded(Operation::none, [&]() -> Result<std::unique_ptr<Server>> {
        auto socket = ListeningSocket::at(address.path);
        if (!socket) return socket.error();
        auto state = std::make_shared<State>(loop, monitor, *std::move(socket));
        state->wait_for_clients();
        return std::unique_ptr<Server>(new Server(std::move(state)));
    });
}

Server::Server(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
Server::~Server() = default;

void Server::flush() noexcept {
    for (const auto& client : state_->clients) State::send(*client);
}

std::size_t Server::clients() const noexcept { return state_->clients.size(); }

}  // namespace iommufd::inline v0_1::monitor
