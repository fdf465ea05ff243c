// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <asio/thread_pool.hpp>
#include <memory>
#include <optional>

#include "cli/journal_on_loop.hpp"
#include "iommufd/object/fd_server.hpp"

namespace iommufd::inline v0_1::sys {
class Kernel;
}

namespace iommufd::inline v0_1::cli {

// The fd-servers of `iommufd run`, which its loop serves; threads for what takes long are there from the first one on.
class FdServers {
public:
    explicit FdServers(asio::io_context& loop) : loop_(loop), journal_(loop) {}

    // EINVAL: the configuration; EADDRINUSE, EACCES, ...: the path of the socket.
    Result<std::unique_ptr<object::FdServer>> serve(const object::FdServerOptions& options,
                                                    sys::Kernel& kernel);

    // To be called before the kernel goes: waits for what is under way for clients that have left.
    void finish();

private:
    asio::io_context& loop_;
    JournalOnLoop journal_;
    std::optional<asio::thread_pool> pool_;
};

}  // namespace iommufd::inline v0_1::cli
