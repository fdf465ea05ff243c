// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What an object fd-server stands for: a socket at which other processes get the iommufd of this one. The library has no loop to
// serve it with, so the program says how (Registry::Options::serve).
//
// Threads: the program's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::object {

struct FdServerOptions {
    std::string id;
    std::string path;    // of its socket
    std::string config;  // the file with its policy; empty: the processes of `user` get the iommufd
    std::optional<std::uint32_t> user;
    int iommufd;  // borrowed; open for as long as the server lives
};

// Serves until it is destroyed. Clients keep what they were given.
class FdServer {
public:
    FdServer() = default;
    FdServer(const FdServer&) = delete;
    FdServer& operator=(const FdServer&) = delete;
    virtual ~FdServer() = default;

    // How many are connected.
    virtual std::size_t clients() const noexcept = 0;
};

using ServeFds = std::function<Result<std::unique_ptr<FdServer>>(const FdServerOptions& options)>;

}  // namespace iommufd::inline v0_1::object
