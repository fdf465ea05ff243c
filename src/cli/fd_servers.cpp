// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/fd_servers.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "broker/config.hpp"
#include "broker/server.hpp"
#include "error/compose.hpp"
#include "monitor/listening_socket.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

class Serving final : public object::FdServer {
public:
    Serving(asio::io_context& loop, asio::thread_pool& pool, monitor::ListeningSocket socket,
            sys::Fd listening, broker::Broker::Options options)
        : socket_(std::move(socket)), server_(loop, pool, std::move(listening), std::move(options)) {}

    std::size_t clients() const noexcept override { return server_.clients(); }

private:
    monitor::ListeningSocket socket_;
    broker::Server server_;
};

Result<broker::Config> config_of(const object::FdServerOptions& options) {
    if (!options.config.empty()) return broker::read_config_file(options.config);
    broker::Config config;
    config.policy.tenants.push_back(
        {.name = options.id, .peers = {{.user = options.user}}, .iommufd = true, .trusted = true});
    return config;
}

}  // namespace

Result<std::unique_ptr<object::FdServer>> FdServers::serve(const object::FdServerOptions& options,
                                                           sys::Kernel& kernel) {
    auto config = config_of(options);
    if (!config) return config.error();
    if (std::ranges::any_of(config->policy.tenants, &broker::Tenant::mediated))
        return Error::refused(EINVAL, compose("cannot serve at ", options.path),
                              "its policy has a mediated tenant, whose memory would count as this instance's",
                              "let `iommufd serve` serve that one");
    auto socket = monitor::ListeningSocket::at(options.path, config->socket.mode);
    if (!socket) return socket.error();
    const int mine = ::fcntl(socket->fd(), F_DUPFD_CLOEXEC, 0);
    if (mine < 0) return Error(Operation::dup, errno, compose("cannot listen at ", options.path));
    constexpr std::size_t kThreads = 4;
    if (!pool_) pool_.emplace(kThreads);
    return std::make_unique<Serving>(
        loop_, *pool_, *std::move(socket), sys::Fd(sys::host_kernel(), mine),
        broker::Broker::Options{.policy = std::move(config->policy),
                                .kernel = &kernel,
                                .journal = [this](const broker::Record& record) { journal_->tell(record); },
                                .run = {},
                                .iommufd = [fd = options.iommufd]() -> Result<int> { return fd; }});
}

void FdServers::finish() {
    if (!pool_) return;
    pool_->join();
    loop_.restart();
    loop_.poll();
}

}  // namespace iommufd::inline v0_1::cli
