// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/serve.hpp"

#include <cap-ng.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/thread_pool.hpp>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <optional>

#include "broker/config.hpp"
#include "broker/server.hpp"
#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "cli/journal_on_loop.hpp"
#include "error/compose.hpp"
#include "monitor/listening_socket.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr int kFirstGiven = 3;

std::optional<int> number_in(const char* variable) {
    const char* const text = std::getenv(variable);
    if (!text) return std::nullopt;
    const std::string_view digits = text;
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return value;
}

// The socket that systemd listens at for us; nothing: there is none.
Result<sys::Fd> given_socket() {
    if (number_in("LISTEN_PID") != ::getpid()) return sys::Fd();
    const int count = number_in("LISTEN_FDS").value_or(0);
    if (count == 0) return sys::Fd();
    sys::Fd socket(sys::host_kernel(), kFirstGiven);
    int listens = 0, family = 0, type = 0;
    socklen_t length = sizeof(int);
    const bool is_right =
        count == 1 && ::getsockopt(kFirstGiven, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 &&
        listens && ::getsockopt(kFirstGiven, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 &&
        family == AF_UNIX && ::getsockopt(kFirstGiven, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
        type == SOCK_STREAM;
    if (!is_right)
        return Error::refused(EINVAL, "cannot use what LISTEN_FDS passes",
                              "one Unix stream socket that listens is expected",
                              "write one ListenStream=/PATH into the socket unit");
    (void)::fcntl(kFirstGiven, F_SETFD, FD_CLOEXEC);
    return socket;
}

// Makes the socket, which is removed with `made`.
Result<sys::Fd> listen_at(const broker::SocketPlace& place, std::optional<monitor::ListeningSocket>& made) {
    auto socket = monitor::ListeningSocket::at(place.path, place.mode);
    if (!socket) return socket.error();
    made.emplace(*std::move(socket));
    const int mine = ::fcntl(made->fd(), F_DUPFD_CLOEXEC, 0);
    if (mine < 0) return Error(Operation::dup, errno, "cannot listen");
    return sys::Fd(sys::host_kernel(), mine);
}

// A thousand clients take a thousand descriptors.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// What clients have mapped counts against the broker's limit, which is none for who has CAP_IPC_LOCK.
void limit_pins(const broker::Policy& policy, Journal& journal) {
    rlim_t most = 0;
    for (const broker::Tenant& tenant : policy.tenants)
        if (tenant.mediated)
            most = tenant.quotas.pinned > RLIM_INFINITY - 1 - most ? RLIM_INFINITY - 1
                                                                   : most + tenant.quotas.pinned;
    if (most == 0) return;
    if (::capng_get_caps_process() == 0) {
        (void)::capng_update(CAPNG_DROP,
                             static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE),
                             CAP_IPC_LOCK);
        (void)::capng_apply(CAPNG_SELECT_CAPS);
    }
    rlimit limit{};
    (void)::getrlimit(RLIMIT_MEMLOCK, &limit);
    const rlimit wanted{.rlim_cur = most, .rlim_max = std::max(limit.rlim_max, most)};
    if (::setrlimit(RLIMIT_MEMLOCK, &wanted) == 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_MEMLOCK, &limit);
    journal.say(Journal::Level::warning,
                compose("warning: RLIMIT_MEMLOCK is ", limit.rlim_max, " bytes, and clients may have ", most,
                        " pinned: give the service LimitMEMLOCK=", most));
}

}  // namespace

int serve(const ServeArguments& arguments) {
    auto config = broker::read_config_file(arguments.config);
    if (!config) return fail(kUsage, config.error());
    raise_descriptor_limit();
    asio::io_context loop;
    JournalOnLoop journal(loop);
    // Before there are threads: capabilities are each one's own.
    limit_pins(config->policy, *journal);

    asio::signal_set signals(loop, SIGINT, SIGTERM);
    auto listening = given_socket();
    if (!listening) return fail(kFailed, listening.error());
    std::optional<monitor::ListeningSocket> own, kubevirt;
    if (!*listening) {
        if (config->socket.path.empty())
            return fail(
                kUsage,
                Error::refused(
                    EINVAL, "cannot serve", "no socket is given, and the configuration names none",
                    "give it \"socket\": \"/run/iommufd/broker.sock\", or start it by a socket unit"));
        listening = listen_at(config->socket, own);
        if (!listening) return fail(kFailed, listening.error());
    }
    auto listening_for_kubevirt =
        config->kubevirt.path.empty() ? Result<sys::Fd>(sys::Fd()) : listen_at(config->kubevirt, kubevirt);
    if (!listening_for_kubevirt) return fail(kFailed, listening_for_kubevirt.error());
    const std::size_t tenants = config->policy.tenants.size();
    asio::thread_pool pool(std::size_t{4});
    {
        broker::Server server(loop, pool, *std::move(listening),
                              {.policy = std::move(config->policy),
                               .journal = [&](const broker::Record& record) { journal->tell(record); }});
        if (*listening_for_kubevirt) server.serve_kubevirt(*std::move(listening_for_kubevirt));
        signals.async_wait([&](const asio::error_code& error, int) {
            if (!error) loop.stop();
        });
        journal->say(Journal::Level::info,
                     compose(tenants, tenants == 1 ? " tenant is" : " tenants are", " ready"));
        loop.run();
    }
    pool.join();
    return kDone;
}

}  // namespace iommufd::inline v0_1::cli
