// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/qmp_client.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr timeval kPatience = {.tv_sec = 20, .tv_usec = 0};

Error cannot(const std::string& path, int code, std::string cause) {
    return Error::refused(code, compose("cannot ask the instance at '", path, "'"), std::move(cause),
                          "give the path of the socket of an `iommufd run -qmp unix:PATH`");
}

}  // namespace

Result<QmpClient> QmpClient::connect(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return cannot(path, ENAMETOOLONG, "the path is too long for a socket");
    std::memcpy(address.sun_path, path.data(), path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return cannot(path, errno, "there is no socket to be had");
    QmpClient client(sys::Fd(sys::host_kernel(), fd), path);
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
        return cannot(path, errno, errno == EACCES ? "it is for its owner only" : "nobody listens there");
    const auto greeting = client.next();
    if (!greeting) return greeting.error();
    if (!greeting->contains("QMP")) return cannot(path, EPROTO, "what answers there doesn't speak QMP");
    if (const auto ready = client.ask("qmp_capabilities"); !ready) return ready.error();
    return client;
}

Result<Json> QmpClient::next() {
    std::size_t end = 0;
    while ((end = rest_.find('\n')) == std::string::npos) {
        char piece[4096];
        const ssize_t got = ::recv(socket_.number(), piece, sizeof piece, 0);
        if (got == 0) return cannot(path_, ECONNRESET, "it has hung up");
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return cannot(path_, errno == EAGAIN ? ETIMEDOUT : errno, "it doesn't answer");
        rest_.append(piece, static_cast<std::size_t>(got));
    }
    Json message = Json::parse(rest_.substr(0, end), nullptr, false);
    rest_.erase(0, end + 1);
    if (!message.is_object()) return cannot(path_, EPROTO, "what answers there doesn't speak QMP");
    return message;
}

Result<Json> QmpClient::ask(const std::string& command) {
    const std::string message = Json{{"execute", command}}.dump() + "\n";
    if (::send(socket_.number(), message.data(), message.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(message.size()))
        return cannot(path_, errno, "it doesn't listen any more");
    while (true) {
        auto answer = next();
        if (!answer) return answer.error();
        if (answer->contains("event")) continue;
        if (answer->contains("return")) return Json(answer->at("return"));
        return cannot(path_, EPROTO, compose("it refuses ", command));
    }
}

}  // namespace iommufd::inline v0_1::cli
