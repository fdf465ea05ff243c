// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/ready_signal.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace iommufd::inline v0_1::model {

ReadySignal::~ReadySignal() {
    if (own_ >= 0) (void)::close(own_);
    if (peer_ >= 0) (void)::close(peer_);
}

int ReadySignal::make(Polls polls) noexcept {
    std::array<int, 2> ends{};
    const int made = polls == Polls::readable
                         ? ::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK)
                         : ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data());
    if (made < 0) return -errno;
    own_ = ::fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
    const int error = errno;
    peer_ = ends[1];
    if (own_ >= 0) return ends[0];
    (void)::close(ends[0]);
    return -error;
}

void ReadySignal::set(bool ready) noexcept {
    if (ready == ready_) return;
    ready_ = ready;
    char byte = 0;
    if (ready)
        (void)!::write(peer_, &byte, 1);
    else
        (void)!::read(own_, &byte, 1);
}

}  // namespace iommufd::inline v0_1::model
