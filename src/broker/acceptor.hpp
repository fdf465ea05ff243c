// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Those who connect to a socket, one after the other, also when there are no descriptors for a while.
//
// Threads: that of the loop.
#pragma once

#include <functional>
#include <memory>

#include "sys/fd.hpp"

namespace asio {
class io_context;
}  // namespace asio

namespace iommufd::inline v0_1::broker {

class Acceptor {
public:
    // `admit` takes a socket that never blocks; it throws nothing. `listening` is a Unix stream socket.
    Acceptor(asio::io_context& loop, sys::Fd listening, std::function<void(sys::Fd)> admit);
    // `admit` isn't called any more.
    ~Acceptor();
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

    void start();

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::broker
