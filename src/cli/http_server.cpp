// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/http_server.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <optional>

#include "error/compose.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr timeval kPatience = {.tv_sec = 1, .tv_usec = 0};
constexpr std::size_t kMostRequest = 8192;

sys::Fd owned(int number) { return {sys::host_kernel(), number}; }

struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
    std::string path;  // of a Unix socket
};

std::optional<std::uint16_t> port_of(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return port;
}

std::optional<Address> parse(const std::string& where) {
    Address address;
    if (where.starts_with("unix:")) {
        sockaddr_un its{};
        address.path = where.substr(5);
        if (address.path.empty() || address.path.size() >= sizeof its.sun_path) return std::nullopt;
        its.sun_family = AF_UNIX;
        std::memcpy(its.sun_path, address.path.data(), address.path.size());
        std::memcpy(&address.storage, &its, sizeof its);
        address.length = sizeof its;
        return address;
    }
    const std::size_t colon = where.rfind(':');
    const auto port =
        colon == std::string::npos ? std::nullopt : port_of(std::string_view(where).substr(colon + 1));
    if (!port) return std::nullopt;
    const std::string host = where.substr(0, colon);
    if (host == "127.0.0.1") {
        sockaddr_in its{};
        its.sin_family = AF_INET;
        its.sin_port = htons(*port);
        its.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        std::memcpy(&address.storage, &its, sizeof its);
        address.length = sizeof its;
        return address;
    }
    if (host != "[::1]") return std::nullopt;
    sockaddr_in6 its{};
    its.sin6_family = AF_INET6;
    its.sin6_port = htons(*port);
    its.sin6_addr = in6addr_loopback;
    std::memcpy(&address.storage, &its, sizeof its);
    address.length = sizeof its;
    return address;
}

int bind_privately(int fd, const Address& address) {
    const mode_t mask = ::umask(0177);
    const int result = ::bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length);
    const int code = errno;
    (void)::umask(mask);
    errno = code;
    return result;
}

// The first line of the request; empty where none came in time.
std::string request_of(int client) {
    std::string request;
    char piece[1024];
    while (!request.contains("\r\n\r\n") && request.size() < kMostRequest) {
        const ssize_t got = ::recv(client, piece, sizeof piece, 0);
        if (got <= 0) return {};
        request.append(piece, static_cast<std::size_t>(got));
    }
    return request.substr(0, request.find("\r\n"));
}

void answer(int client, const std::function<Result<std::string>()>& page) {
    (void)::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    (void)::setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
    const std::string request = request_of(client);
    if (request.empty()) return;
    std::string status = "404 Not Found";
    std::string body = "see /metrics\n";
    if (request.starts_with("GET /metrics ")) {
        const auto made = page();
        status = made ? "200 OK" : "503 Service Unavailable";
        body = made ? *made : made.error().line() + "\n";
    }
    const std::string all = fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: "
        "{}\r\nConnection: close\r\n\r\n{}",
        status, body.size(), body);
    for (std::size_t sent = 0; sent < all.size();) {
        const ssize_t more = ::send(client, all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
        if (more <= 0) return;
        sent += static_cast<std::size_t>(more);
    }
}

}  // namespace

Result<void> serve_http(const std::string& where, const std::function<Result<std::string>()>& page) {
    const std::string what = compose("cannot listen at '", where, "'");
    const auto address = parse(where);
    if (!address)
        return Error::refused(EINVAL, what, "it is neither a path nor an address of this machine alone",
                              "give unix:PATH, 127.0.0.1:PORT or [::1]:PORT");
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    (void)::sigprocmask(SIG_BLOCK, &ends, nullptr);
    const sys::Fd signals = owned(::signalfd(-1, &ends, SFD_CLOEXEC));
    const sys::Fd listener = owned(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    (void)::setsockopt(listener.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind_privately(listener.number(), *address) < 0 || ::listen(listener.number(), 16) < 0)
        return Error::refused(
            errno, what, errno == EADDRINUSE ? "somebody listens there, or did" : "the kernel refuses it",
            "choose another place, or remove what is there");
    fmt::print(stderr, "iommufd: metrics are ready at {}\n", where);
    while (true) {
        pollfd waiting[] = {{.fd = signals.number(), .events = POLLIN, .revents = 0},
                            {.fd = listener.number(), .events = POLLIN, .revents = 0}};
        if (::poll(waiting, 2, -1) < 0 && errno != EINTR) break;
        if (waiting[0].revents != 0) break;
        if (waiting[1].revents == 0) continue;
        const sys::Fd client = owned(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC));
        if (client) answer(client.number(), page);
    }
    if (!address->path.empty()) (void)::unlink(address->path.c_str());
    return {};
}

}  // namespace iommufd::inline v0_1::cli
