// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/event_fd.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/caller.hpp"

namespace iommufd::inline v0_1::model {

EventFd::~EventFd() {
    if (number_ >= 0) (void)::close(number_);
}

EventFd EventFd::make() noexcept { return EventFd(::eventfd(0, EFD_CLOEXEC)); }

int EventFd::take(int fd, EventFd& taken) {
    EventFd own(caller().take(fd));
    if (!own) return -EBADF;
    char target[64];
    const std::string link = "/proc/self/fd/" + std::to_string(own.number_);
    const ssize_t length = ::readlink(link.c_str(), target, sizeof target);
    if (length < 0 || std::string_view(target, static_cast<std::size_t>(length)) != "anon_inode:[eventfd]")
        return -EINVAL;
    taken = std::move(own);
    return 0;
}

void EventFd::signal() const noexcept {
    // A full counter is signalled as it is; waiting for its reader would stop the device.
    pollfd room{.fd = number_, .events = POLLOUT, .revents = 0};
    const std::uint64_t one = 1;
    if (number_ >= 0 && ::poll(&room, 1, 0) == 1) (void)!::write(number_, &one, sizeof one);
}

void EventFd::drain() const noexcept {
    std::uint64_t count = 0;
    iovec piece{&count, sizeof count};
    (void)!::preadv2(number_, &piece, 1, -1, RWF_NOWAIT);
}

}  // namespace iommufd::inline v0_1::model
