// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The process at the other end of a socket, as it was when it connected.
//
// A number of a process is used again when that has ended. So whatever is read of it, or done to it, by its number is
// followed by a look whether it was still the same one: its pidfd tells.
//
// Threads: calls that are const may run at once. Linux: 6.5 (SO_PEERPIDFD).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "iommufd/error/result.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::broker {

struct Peer {
    pid_t process;
    uid_t user;
    gid_t group;
    sys::Fd handle;  // its pidfd

    // ENOPROTOOPT: Linux is older than 6.5; ESRCH: it has ended already.
    static Result<Peer> of(int socket);

    bool is_alive() const noexcept;
    // Its cgroup (version 2): "/system.slice/vm-a.service". ESRCH: it has ended, and what was read may be another's;
    // ENOENT: /proc is not mounted, or has no cgroup of version 2.
    Result<std::string> cgroup() const;
    // Lets it lock so many bytes (kUnlimited: any number) unless it may already. EPERM: that takes CAP_SYS_RESOURCE;
    // ESRCH: it has ended; what was set may have been another's, which has its own back.
    Result<void> allow_locked(std::uint64_t bytes) const;
    // "uid 1000, gid 1000, process 4711 (qemu-system-x86)".
    std::string text() const;
};

// The systemd unit of the system's manager that a cgroup belongs to: the first component that is no slice. Units below it are
// names that its user gives, and count for nothing. "/user.slice/user-1000.slice/user@1000.service/a.service" is of
// user@1000.service. Empty: none.
std::string_view unit_of(std::string_view cgroup) noexcept;

}  // namespace iommufd::inline v0_1::broker
