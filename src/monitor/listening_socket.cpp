// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/listening_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error/compose.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

sockaddr_un name_of(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    return name;
}

int open_socket() { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

template <class Call>
int with_name(Call&& call, int fd, const std::string& path) {
    const sockaddr_un name = name_of(path);
    return call(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name);
}

// Whether nobody listens at a socket that is there.
bool is_abandoned(const std::string& path) {
    const int fd = open_socket();
    if (fd < 0) return false;
    const bool refused = with_name(::connect, fd, path) < 0 && errno == ECONNREFUSED;
    (void)::close(fd);
    return refused;
}

Error cannot_listen(const std::string& path, int code, std::string cause, std::string next_step) {
    return Error::refused(code, compose("cannot listen at ", object::quote(path)), std::move(cause),
                          std::move(next_step));
}

Error cannot_listen(const std::string& path, int code, std::string_view call) {
    return cannot_listen(path, code, compose(call, ": ", std::strerror(code)),
                         "choose a path in a folder that this user may write to");
}

// Makes the path free.
Result<void> clear(const std::string& path) {
    struct stat status{};
    // Not through a link: where that leads is somebody else's business.
    if (::lstat(path.c_str(), &status) < 0) {
        if (errno == ENOENT) return {};
        return cannot_listen(path, errno, "lstat");
    }
    if (!S_ISSOCK(status.st_mode))
        return cannot_listen(path, EEXIST, "something that is no socket is there",
                             "choose another path, or remove it");
    if (!is_abandoned(path))
        return cannot_listen(path, EADDRINUSE, "another process listens there", "choose another path");
    if (::unlink(path.c_str()) < 0) return cannot_listen(path, errno, "unlink");
    return {};
}

}  // namespace

Result<ListeningSocket> ListeningSocket::at(const std::string& path, mode_t mode) {
    if (auto cleared = clear(path); !cleared) return cleared.error();
    const int fd = open_socket();
    if (fd < 0) return cannot_listen(path, errno, "socket");
    const mode_t mask = ::umask(~mode & 0777);
    const int bound = with_name(::bind, fd, path) < 0 ? errno : 0;
    (void)::umask(mask);
    if (bound != 0) {
        (void)::close(fd);
        return cannot_listen(path, bound, "bind");
    }
    ListeningSocket listening(fd, path);
    if (::listen(fd, SOMAXCONN) < 0) return cannot_listen(path, errno, "listen");
    return listening;
}

ListeningSocket::ListeningSocket(int fd, std::string path) noexcept : fd_(fd), path_(std::move(path)) {
    struct stat status{};
    if (::lstat(path_.c_str(), &status) < 0) return;
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      device_(other.device_),
      inode_(other.inode_) {}

ListeningSocket::~ListeningSocket() {
    if (fd_ < 0) return;
    struct stat status{};
    if (::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_)
        (void)::unlink(path_.c_str());
    (void)::close(fd_);
}

}  // namespace iommufd::inline v0_1::monitor
