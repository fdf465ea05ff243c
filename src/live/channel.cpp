// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/live/channel.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "live/descriptors.hpp"
#include "live/state.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::live {
namespace {

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;

// What goes before the state. Little-endian, as the machine is.
struct Header {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t descriptors;
    std::uint64_t bytes;  // of the state
};
static_assert(sizeof(Header) == 24);
constexpr std::array<char, 8> kMagic{'I', 'O', 'M', 'M', 'U', 'H', 'O', 'V'};
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kMostBytes = 1_GiB;
constexpr std::size_t kPiece = 64_KiB;
constexpr std::size_t kMostAtOnce = 253;  // descriptors in one message (SCM_MAX_FD)

// What the new process says of its restore().
struct Answer {
    std::uint32_t code;    // errno; 0: ready
    std::uint32_t length;  // of the error's line, which follows
};
constexpr std::uint32_t kMostWords = 64 * 1024;

Error cannot(std::string_view what, int code, std::string cause, std::string next) {
    return Error::refused(code, compose("cannot ", what), std::move(cause), std::move(next));
}

constexpr std::string_view kSend = "hand over to the new process";
constexpr std::string_view kReceive = "take over from the old process";

Error gone(std::string_view what, int code) {
    return cannot(what, code, "the other process has ended, or closed its socket",
                  "look at what it says of that");
}

// EINTR is not an end; ETIMEDOUT is.
Result<void> wait_for(int socket, short event, Deadline deadline, std::string_view what) {
    for (;;) {
        pollfd waiting{.fd = socket, .events = event, .revents = 0};
        int rest = -1;
        if (deadline) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
            rest = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
        }
        const int ready = ::poll(&waiting, 1, rest);
        if (ready > 0) return {};
        if (ready == 0)
            return cannot(what, ETIMEDOUT, "the other process does not answer", "end it, and try again");
        if (errno != EINTR) return cannot(what, errno, "the socket can't be waited for", "pass a socket");
    }
}

Result<std::size_t> send_some(int socket, std::span<const std::byte> bytes, std::span<const int> fds,
                              Deadline deadline, std::string_view what) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostAtOnce * sizeof(int))> control{};
    iovec piece{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    for (;;) {
        if (auto ready = wait_for(socket, POLLOUT, deadline, what); !ready) return ready.error();
        const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) return static_cast<std::size_t>(sent);
        if (errno == EPIPE || errno == ECONNRESET) return gone(what, errno);
        if (errno != EAGAIN && errno != EINTR)
            return cannot(what, errno, "the socket refuses it", "pass a connected Unix stream socket");
    }
}

Result<void> send_all(int socket, std::span<const std::byte> bytes, Deadline deadline,
                      std::string_view what) {
    while (!bytes.empty()) {
        auto sent = send_some(socket, bytes.first(std::min(bytes.size(), kPiece)), {}, deadline, what);
        if (!sent) return sent.error();
        bytes = bytes.subspan(*sent);
    }
    return {};
}

// 0: the other end has closed. With descriptors where they are expected.
Result<std::size_t> receive_some(int socket, std::span<std::byte> bytes, Descriptors* descriptors,
                                 Deadline deadline, std::string_view what) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostAtOnce * sizeof(int))> control{};
    iovec piece{.iov_base = bytes.data(), .iov_len = bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (descriptors) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
    }
    ssize_t received = 0;
    do {
        if (auto ready = wait_for(socket, POLLIN, deadline, what); !ready) return ready.error();
        received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (received < 0 && (errno == EINTR || errno == EAGAIN));
    if (received < 0) {
        if (errno == ECONNRESET) return gone(what, errno);
        return cannot(what, errno, "the socket refuses to be read", "pass a connected Unix stream socket");
    }
    for (cmsghdr* header = descriptors ? CMSG_FIRSTHDR(&message) : nullptr; header;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            descriptors->add(fd);
        }
    }
    if (descriptors && (message.msg_flags & MSG_CTRUNC) != 0)
        return cannot(what, EMFILE, "not all descriptors could be received",
                      "raise RLIMIT_NOFILE (`ulimit -n`)");
    return static_cast<std::size_t>(received);
}

Result<void> receive_all(int socket, std::span<std::byte> bytes, Descriptors* descriptors, Deadline deadline,
                         std::string_view what) {
    while (!bytes.empty()) {
        auto received = receive_some(socket, bytes, descriptors, deadline, what);
        if (!received) return received.error();
        if (*received == 0) return gone(what, EPIPE);
        bytes = bytes.subspan(*received);
    }
    return {};
}

template <class Struct>
std::span<std::byte> bytes_of(Struct& value) {
    return std::as_writable_bytes(std::span(&value, 1));
}

Deadline in(std::chrono::milliseconds patience) { return Clock::now() + patience; }

// Says in one byte that everything was let go of; no character of a text.
constexpr std::byte kLetGo{0xc1};

}  // namespace

Result<void> send(int socket, const Package& package, HandOverOptions options) {
    return guarded(Operation::none, [&]() -> Result<void> {
        const Deadline deadline = in(options.patience);
        if (package.fds.size() > State::kMostDescriptors)
            return cannot(kSend, EOVERFLOW, "there are too many descriptors", "hand over fewer at a time");
        Header header{.magic = kMagic,
                      .version = kVersion,
                      .descriptors = static_cast<std::uint32_t>(package.fds.size()),
                      .bytes = package.state.size()};
        // Each batch of descriptors goes with a byte of the header; the rest of that with the last.
        std::span<const std::byte> bytes = bytes_of(header);
        std::span<const int> fds = package.fds;
        while (!bytes.empty()) {
            const auto batch = fds.first(std::min(fds.size(), kMostAtOnce));
            fds = fds.subspan(batch.size());
            auto sent = send_some(socket, fds.empty() ? bytes : bytes.first(1), batch, deadline, kSend);
            if (!sent) return sent.error();
            bytes = bytes.subspan(*sent);
        }
        return send_all(socket, package.state, deadline, kSend);
    });
}
static_assert(State::kMostDescriptors / kMostAtOnce < sizeof(Header));

Result<Package> receive(int socket) {
    return guarded(Operation::none, [&]() -> Result<Package> {
        Descriptors descriptors(sys::host_kernel(), {});
        Header header{};
        if (auto received = receive_all(socket, bytes_of(header), &descriptors, {}, kReceive); !received)
            return received.error();
        if (header.magic != kMagic || header.version != kVersion || header.bytes > kMostBytes ||
            header.descriptors != descriptors.size())
            return cannot(
                kReceive, EPROTO,
                header.magic != kMagic ? "what comes is no hand-over"
                : header.version != kVersion
                    ? compose("it is of version ", header.version, ", and this library knows ", kVersion)
                    : compose("it says that it has ", header.bytes, " bytes and ", header.descriptors,
                              " descriptors, and has ", descriptors.size()),
                "pass a socket on whose other end is live::hand_over()");
        Package package;
        // Memory is taken as it comes, whatever the header says.
        while (package.state.size() < header.bytes) {
            const std::size_t have = package.state.size();
            package.state.resize(have + std::min<std::uint64_t>(header.bytes - have, kPiece));
            if (auto received =
                    receive_all(socket, std::span(package.state).subspan(have), &descriptors, {}, kReceive);
                !received)
                return received.error();
        }
        package.fds = descriptors.release();
        return package;
    });
}

Result<void> answer(int socket, const Result<void>& outcome) {
    return guarded(Operation::none, [&]() -> Result<void> {
        const std::string line = outcome ? std::string() : outcome.error().line().substr(0, kMostWords);
        Answer header{.code = outcome ? 0U : static_cast<std::uint32_t>(outcome.error().code()),
                      .length = static_cast<std::uint32_t>(line.size())};
        if (auto sent = send_all(socket, bytes_of(header), {}, kReceive); !sent) return sent;
        return send_all(socket, std::as_bytes(std::span(line)), {}, kReceive);
    });
}

Result<void> receive_answer(int socket, HandOverOptions options) {
    return guarded(Operation::none, [&]() -> Result<void> {
        const Deadline deadline = in(options.patience);
        Answer header{};
        if (auto received = receive_all(socket, bytes_of(header), nullptr, deadline, kSend); !received)
            return received;
        if (header.length > kMostWords)
            return cannot(kSend, EPROTO, "its answer is none",
                          "pass a socket on whose other end is live::take_over()");
        std::string line(header.length, '\0');
        if (auto received =
                receive_all(socket, std::as_writable_bytes(std::span(line)), nullptr, deadline, kSend);
            !received)
            return received;
        if (header.code == 0) return {};
        return cannot(kSend, ECANCELED, std::move(line), "see what it says; this process goes on as before");
    });
}

Result<void> say(int socket, Word word) {
    return guarded(Operation::none, [&]() -> Result<void> {
        const auto byte = static_cast<std::byte>(word);
        return send_all(socket, {&byte, 1}, in(std::chrono::seconds(1)), kSend);
    });
}

Successor receive_let_go(int socket, HandOverOptions options) noexcept {
    const auto received = guarded(Operation::none, [&]() -> Result<Successor> {
        const Deadline deadline = in(options.patience);
        for (std::byte byte{};;) {
            // Its answer may still be under way.
            const auto some = receive_some(socket, {&byte, 1}, nullptr, deadline, kSend);
            if (!some || *some == 0) return Successor::gone;
            if (byte == kLetGo) return Successor::alive;
        }
    });
    return received ? *received : Successor::gone;
}

Result<Word> receive_word(int socket) {
    return guarded(Operation::none, [&]() -> Result<Word> {
        std::byte byte{};
        auto received = receive_some(socket, {&byte, 1}, nullptr, {}, kReceive);
        if (!received && received.error().code() != ECONNRESET) return received.error();
        if (!received || *received == 0) return Word::yours;
        if (byte > static_cast<std::byte>(Word::not_yours))
            return cannot(kReceive, EPROTO, "its last word is none", "see what it says");
        return static_cast<Word>(byte);
    });
}

Result<void> hand_over(const Instance& instance, int socket, HandOverOptions options) {
    auto handover = save(instance);
    if (!handover) return handover.error();
    auto ready =
        send(socket, handover->package(), options).and_then([&] { return receive_answer(socket, options); });
    auto successor = Successor::gone;
    if (ready)
        ready = say(socket, Word::yours);
    else if (say(socket, Word::not_yours))
        successor = receive_let_go(socket, options);
    if (ready) {
        std::move(*handover).commit();
        return {};
    }
    if (auto aborted = std::move(*handover).abort(successor); !aborted)
        instance.backend.context()->node()->notice(Severity::warning, aborted.error());
    (void)say(socket, Word::not_yours);  // nothing is expected of it any more
    return ready;
}

Result<Restored> take_over(int socket, RestoreOptions options) {
    auto package = receive(socket);
    if (!package) {
        (void)answer(socket, package.error());
        (void)::shutdown(socket, SHUT_RDWR);
        return package.error();
    }
    std::optional<Result<Prepared>> prepared = restore(std::move(*package), std::move(options));
    (void)answer(socket, *prepared ? Result<void>() : Result<void>(prepared->error()));
    const auto let_go = [&](const Error& why) -> Result<Restored> {
        prepared.reset();
        // The old process takes the pages back while there is one to take them from.
        if (send_all(socket, {&kLetGo, 1}, {}, kReceive)) (void)receive_word(socket);
        (void)::shutdown(socket, SHUT_RDWR);
        return why;
    };
    if (!*prepared) return let_go(Error(prepared->error()));
    // That it can't be told is no news: who has ended has handed over.
    auto word = receive_word(socket);
    if (!word) return let_go(word.error());
    if (*word == Word::not_yours)
        return let_go(cannot(kReceive, ECANCELED, "it keeps what it has", "see what it says of that"));
    return std::move(**prepared).take();
}

}  // namespace iommufd::inline v0_1::live
