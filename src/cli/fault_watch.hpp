// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "monitor/monitor.hpp"

namespace asio {
class io_context;
}

namespace iommufd::inline v0_1::cli {

// Serves what VFIO devices ask for in spaces with faults=on, from the loop.
class FaultWatch {
public:
    FaultWatch(asio::io_context& loop, monitor::Monitor& monitor);
    ~FaultWatch();
    FaultWatch(const FaultWatch&) = delete;
    FaultWatch& operator=(const FaultWatch&) = delete;

    // A device has come, or is about to be closed: the queue of its space comes with the first and goes with the last of them.
    void watch(const std::string& device);
    void leave(const std::string& device);

private:
    struct Watched;
    using Handle = std::shared_ptr<Watched>;

    void wait(const Handle& watched);
    void serve(const Handle& watched, bool is_readable);
    // Calls serve() then, if it is still watched.
    void come_back(const Handle& watched, monitor::RateLimit::Time when, bool is_readable);

    asio::io_context& loop_;
    monitor::Monitor& monitor_;
    std::map<std::string, Handle, std::less<>> watched_;  // by the id of the space
};

}  // namespace iommufd::inline v0_1::cli
