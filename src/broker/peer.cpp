// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/peer.hpp"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "broker/protocol.hpp"
#include "error/compose.hpp"
#include "host/open_files.hpp"
#include "object/words.hpp"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace iommufd::inline v0_1::broker {
namespace {

Error cannot(std::string_view what, int code, std::string cause, std::string next) {
    return Error::refused(code, compose("cannot ", what), std::move(cause), std::move(next));
}

Error has_ended(std::string_view what) {
    return cannot(what, ESRCH, "it has ended meanwhile", "connect again, and stay");
}

rlim_t limit_of(std::uint64_t bytes) noexcept { return bytes == kUnlimited ? RLIM_INFINITY : bytes; }

}  // namespace

Result<Peer> Peer::of(int socket) {
    constexpr std::string_view kWhat = "find out who has connected";
    ucred credentials{};
    socklen_t length = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return cannot(kWhat, errno, "the socket doesn't tell", "use a Unix stream socket");
    int handle = -1;
    length = sizeof handle;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &handle, &length) < 0) {
        if (errno == ENOPROTOOPT)
            return cannot(kWhat, ENOPROTOOPT, "this Linux has no SO_PEERPIDFD", "use Linux 6.5 or newer");
        return cannot(kWhat, errno == EINVAL ? ESRCH : errno, "it has ended, or can't be held",
                      "connect again, and stay");
    }
    return Peer{.process = credentials.pid,
                .user = credentials.uid,
                .group = credentials.gid,
                .handle = {sys::host_kernel(), handle}};
}

bool Peer::is_alive() const noexcept {
    pollfd waiting{.fd = handle.number(), .events = POLLIN, .revents = 0};
    return ::poll(&waiting, 1, 0) == 0;
}

Result<std::string> Peer::cgroup() const {
    constexpr std::string_view kWhat = "read the client's cgroup";
    std::string content;
    const std::string path = compose("/proc/", process, "/cgroup");
    const int read = sys::host_kernel().read_file(path.c_str(), content);
    if (!is_alive()) return has_ended(kWhat);
    if (read < 0) return cannot(kWhat, -read, compose(path, " can't be read"), "mount /proc");
    constexpr std::string_view kUnified = "0::";
    for (std::string_view rest = content; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        if (rest.starts_with(kUnified))
            return std::string(rest.substr(kUnified.size(), end - kUnified.size()));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return cannot(kWhat, ENOENT, "it is in no cgroup of version 2", "name its uid or gid in the policy");
}

Result<void> Peer::allow_locked(std::uint64_t bytes) const {
    constexpr std::string_view kWhat = "raise the client's RLIMIT_MEMLOCK";
    rlimit old{};
    if (!is_alive()) return has_ended(kWhat);
    if (::prlimit(process, RLIMIT_MEMLOCK, nullptr, &old) < 0)
        return cannot(kWhat, errno, "it can't be read", "run the broker as root");
    const rlim_t wanted = limit_of(bytes);
    if (old.rlim_cur >= wanted) return is_alive() ? Result<void>() : has_ended(kWhat);
    const rlimit both{.rlim_cur = wanted, .rlim_max = std::max(old.rlim_max, wanted)};
    if (!is_alive()) return has_ended(kWhat);
    if (::prlimit(process, RLIMIT_MEMLOCK, &both, nullptr) < 0)
        return cannot(
            kWhat, errno,
            "that takes CAP_SYS_RESOURCE, of the client's user namespace where it isn't the client's uid",
            "run the broker as root, or raise the limit where the client is started (LimitMEMLOCK=)");
    if (is_alive()) return {};
    (void)::prlimit(process, RLIMIT_MEMLOCK, &old, nullptr);
    return has_ended(kWhat);
}

std::string Peer::text() const {
    const std::string program = host::program_of(sys::host_kernel(), process);
    const std::string who = compose("uid ", user, ", gid ", group, ", process ", process);
    return program.empty() || !is_alive() ? who : compose(who, " ", object::quote(program));
}

std::string_view unit_of(std::string_view cgroup) noexcept {
    while (!cgroup.empty()) {
        cgroup.remove_prefix(cgroup.starts_with('/') ? 1 : 0);
        const std::string_view part = cgroup.substr(0, cgroup.find('/'));
        if (!part.ends_with(".slice"))
            return part.ends_with(".service") || part.ends_with(".scope") ? part : std::string_view();
        cgroup.remove_prefix(part.size());
    }
    return {};
}

}  // namespace iommufd::inline v0_1::broker
