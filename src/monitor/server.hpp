// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The control socket of a monitor: its clients, each with a session of its own.
//
//     Server::listen(loop, monitor, address)      the path is there from now on, for the owner only
//     loop.run()
//     server.flush()                              last words, as far as nobody has to be waited for
//
// No client can harm the others: each gets one message handled in its turn; one that doesn't read isn't listened to, and is
// dropped when events fill its buffer; one that passes too many descriptors at once is dropped; of too many clients the last
// ones are.
//
// Threads: that of the loop. Linux: 3.9.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "iommufd/error/result.hpp"
#include "monitor/monitor.hpp"

namespace asio {
class io_context;
}

namespace iommufd::inline v0_1::monitor {

inline constexpr std::size_t kMostClients = 32;

struct SocketAddress {
    std::string path;
};

// "unix:PATH[,server=on][,wait=off]", as QEMU's -qmp has it; a comma in the path is written twice. EINVAL: it is another one.
Result<SocketAddress> parse_address(std::string_view text);

class Server {
public:
    // EADDRINUSE: somebody listens there; EEXIST: something else is there. A socket that nobody listens at any more is
    // taken away. What bind(2) says besides.
    static Result<std::unique_ptr<Server>> listen(asio::io_context& loop, Monitor& monitor,
                                                  const SocketAddress& address);
    // Hangs up, and takes the path away if it is still this socket.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    void flush() noexcept;
    std::size_t clients() const noexcept;

private:
    struct State;
    explicit Server(std::shared_ptr<State> state) noexcept;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::monitor
