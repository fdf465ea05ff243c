// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/socket_message.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace iommufd::inline v0_1::sys {
namespace {

constexpr std::size_t kRoom = CMSG_SPACE(kMostDescriptors * sizeof(int));

msghdr message_of(iovec& piece) noexcept {
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    return message;
}

}  // namespace

ssize_t send_some(int socket, std::string_view bytes, std::span<const int> descriptors) noexcept {
    alignas(cmsghdr) std::array<char, kRoom> control{};
    iovec piece{.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
    msghdr message = message_of(piece);
    if (descriptors.size() > kMostDescriptors) return -E2BIG;
    if (!descriptors.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent;
}

Received receive_some(Kernel& kernel, int socket, std::span<char> buffer, std::size_t most) {
    alignas(cmsghdr) std::array<char, kRoom> control{};
    iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr message = message_of(piece);
    most = std::min(most, kMostDescriptors);
    if (most != 0) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(most * sizeof(int));
    }
    Received received{.bytes = 0, .descriptors = {}, .too_many = false};
    // Before it is called, since what it brings must not get lost. The room of one is also room for two.
    received.descriptors.reserve(kMostDescriptors + 1);
    received.bytes = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received.bytes < 0) {
        received.bytes = -errno;
        return received;
    }
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(part) + i * sizeof number, sizeof number);
            received.descriptors.emplace_back(kernel, number);
        }
    }
    received.too_many = (message.msg_flags & MSG_CTRUNC) != 0 || received.descriptors.size() > most;
    return received;
}

}  // namespace iommufd::inline v0_1::sys
