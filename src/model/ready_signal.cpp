// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/ready_signal.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "model/open_again.hpp"

namespace iommufd::inline v0_1::model {

ProgramsEnd::~ProgramsEnd() {
    if (fd_ >= 0) (void)::close(fd_);
}

ReadySignal::~ReadySignal() {
    if (own_ >= 0) (void)::close(own_);
    if (peer_ >= 0) (void)::close(peer_);
}

int ReadySignal::make(Polls polls, ProgramsEnd& end) noexcept {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    end.own(ends[0]);
    peer_ = ends[1];
    if (polls == Polls::readable_and_writable) {
        // The same pipe, opened for both.
        const int both = open_again(ends[0], O_RDWR | O_NONBLOCK);
        if (both < 0) return -errno;
        (void)::close(end.release());
        end.own(both);
    }
    own_ = ::fcntl(end.number(), F_DUPFD_CLOEXEC, 0);
    return own_ < 0 ? -errno : 0;
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
