// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The broker's socket.
//
//     Server server(loop, pool, listening, options)     serves until it is destroyed; clients keep what they have then
//
// No client can harm the others. One message is read and answered at a time; what is no message, brings descriptors, or stays
// half for longer than the patience ends the connection, and so does not reading the answer. Who asks for nothing is hung up on as well.
//
// Threads: that of the loop; the pool's do what takes long. Linux: 6.5.
#pragma once

#include <chrono>
#include <memory>

#include "broker/broker.hpp"
#include "sys/fd.hpp"

namespace asio {
class io_context;
class thread_pool;
}  // namespace asio

namespace iommufd::inline v0_1::broker {

struct ServerOptions {
    std::size_t most_clients = 4096;  // of more the last ones are hung up on
    std::chrono::milliseconds patience{10'000};
    std::chrono::milliseconds retry{100};  // to have a device again that somebody still has
};

class Server {
public:
    // `listening` is a Unix stream socket. `broker.run` is the server's own business.
    Server(asio::io_context& loop, asio::thread_pool& pool, sys::Fd listening, Broker::Options broker,
           ServerOptions options = {});
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // KubeVirt's exchange as well, at another Unix stream socket, by the same policy and books. Before the loop runs.
    void serve_kubevirt(sys::Fd listening);

    std::size_t clients() const noexcept;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::broker
