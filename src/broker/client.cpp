// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/broker/client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "broker/protocol.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "sys/socket_message.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using Clock = std::chrono::steady_clock;

Error cannot(std::string_view what, int code, std::string cause, std::string next) {
    return Error::refused(code, compose("cannot ", what), std::move(cause), std::move(next));
}
constexpr std::string_view kAsk = "get descriptors from the broker";
constexpr const char* kIsItTheBroker = "see whether it is the broker that listens there";

Error gone(int code) {
    return cannot(kAsk, code, "it has hung up",
                  "see its journal for why: the policy, too many clients, or its end");
}

Result<void> wait_for(int socket, short event, Clock::time_point deadline) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd waiting{.fd = socket, .events = event, .revents = 0};
        const int ready =
            ::poll(&waiting, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30)));
        if (ready > 0) return {};
        if (ready == 0)
            return cannot(kAsk, ETIMEDOUT, "it does not answer",
                          "look whether it still runs; a device that takes long to reset keeps only its own "
                          "client waiting");
        if (errno != EINTR) return cannot(kAsk, errno, "the socket can't be waited for", "pass a socket");
    }
}

// A path that is a socket itself, held so that it stays the same one.
Result<int> open_path(const std::string& path) {
    const std::string what = compose("connect to the broker at ", path);
    const int fd = ::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cannot(what, errno, std::strerror(errno),
                      "start the broker, or give the path where its socket is");
    struct stat status{};
    const int code = ::fstat(fd, &status) < 0    ? errno
                     : S_ISLNK(status.st_mode)   ? ELOOP
                     : !S_ISSOCK(status.st_mode) ? ENOTSOCK
                                                 : 0;
    if (code == 0) return fd;
    (void)::close(fd);
    return cannot(
        what, code,
        code == ELOOP ? "it is a symbolic link, which may lead to somebody else's socket" : "it is no socket",
        "give the path of the socket itself");
}

Result<void> check_user(int socket, std::optional<std::uint32_t> user, const std::string& path) {
    ucred credentials{};
    socklen_t length = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return cannot(kAsk, errno, "the socket doesn't tell who listens", "use a Unix stream socket");
    const bool is_right =
        user ? credentials.uid == *user : credentials.uid == 0 || credentials.uid == ::geteuid();
    if (is_right) return {};
    return cannot(compose("trust the broker at ", path), EPERM,
                  compose("uid ", credentials.uid, " listens there"),
                  "give the path of the machine's broker, or say which user it runs as");
}

}  // namespace

Descriptors& Descriptors::operator=(Descriptors&& other) noexcept {
    std::swap(entries_, other.entries_);
    std::swap(notes_, other.notes_);
    std::swap(attached_, other.attached_);
    return *this;
}

Descriptors::~Descriptors() {
    for (const Entry& entry : entries_)
        if (entry.number >= 0) (void)::close(entry.number);
}

AdoptFd Descriptors::take(std::string_view kind, std::string_view name) noexcept {
    for (Entry& entry : entries_)
        if (entry.kind == kind && entry.name == name) return {std::exchange(entry.number, -1)};
    return {-1};
}

Result<Client> Client::connect(const std::string& path) { return connect(path, Options{}); }

Result<Client> Client::connect(const std::string& path, Options options) {
    return guarded(Operation::none, [&]() -> Result<Client> {
        auto held = open_path(path);
        if (!held) return held.error();
        const sys::Fd node(sys::host_kernel(), *held);
        Client client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), options);
        // The very file that was looked at, whatever the path leads to by now; and shorter than a path may be.
        const std::string name = compose("/proc/self/fd/", node.number());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, name.data(), name.size());
        if (::connect(client.socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0)
            return cannot(compose("connect to the broker at ", path), errno, std::strerror(errno),
                          "start the broker, or become a user that may write to its socket");
        if (auto right = check_user(client.socket_, options.broker_user, path); !right) return right.error();
        return client;
    });
}

Result<Client> Client::over(AdoptFd socket, Options options) {
    Client client(socket.number, options);
    if (socket.number < 0) return cannot(kAsk, EBADF, "the socket isn't open", "pass a connected one");
    return client;
}

Client::Client(Client&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)), options_(other.options_) {}

Client& Client::operator=(Client&& other) noexcept {
    std::swap(socket_, other.socket_);
    std::swap(options_, other.options_);
    return *this;
}

Client::~Client() {
    if (socket_ >= 0) (void)::close(socket_);
}

struct Client::Answered {
    Answer answer;
    std::vector<sys::Fd> files;
};

Result<Client::Answered> Client::ask(std::string_view message, std::span<const int> descriptors) {
    return guarded(Operation::none, [&]() -> Result<Answered> {
        const auto deadline = Clock::now() + options_.patience;
        for (std::string_view rest = message; !rest.empty();) {
            const bool is_first = rest.size() == message.size();
            const ssize_t sent =
                sys::send_some(socket_, rest, is_first ? descriptors : std::span<const int>());
            if (sent == -EAGAIN) {
                if (auto ready = wait_for(socket_, POLLOUT, deadline); !ready) return ready.error();
            } else if (sent < 0 && sent != -EINTR) {
                return gone(static_cast<int>(-sent));
            } else if (sent > 0) {
                rest.remove_prefix(static_cast<std::size_t>(sent));
            }
        }
        std::string input;
        std::vector<sys::Fd> files;
        // Nothing follows an answer, so whatever comes is part of it.
        for (std::optional<std::size_t> whole; !whole || input.size() < *whole;) {
            std::array<char, 4096> buffer;
            sys::Received received = sys::receive_some(sys::host_kernel(), socket_, buffer, kMostGiven);
            if (received.bytes == -EAGAIN || received.bytes == -EINTR) {
                if (auto ready = wait_for(socket_, POLLIN, deadline); !ready) return ready.error();
                continue;
            }
            if (received.bytes <= 0)
                return gone(received.bytes < 0 ? static_cast<int>(-received.bytes) : EPIPE);
            if (received.too_many)
                return cannot(kAsk, EMFILE, "not all that came could be received",
                              "raise RLIMIT_NOFILE (`ulimit -n`)");
            for (sys::Fd& file : received.descriptors) files.push_back(std::move(file));
            input.append(buffer.data(), static_cast<std::size_t>(received.bytes));
            if (whole || input.size() < sizeof(Header)) continue;
            const auto length = read_header(std::as_bytes(std::span(input).first<sizeof(Header)>()));
            if (!length) return length.error();
            whole = sizeof(Header) + *length;
        }
        auto answer = read_answer(std::string_view(input).substr(sizeof(Header)));
        if (!answer) return answer.error();
        if (answer->given.size() != files.size())
            return cannot(kAsk, EPROTO,
                          compose("it says that it gives ", answer->given.size(), " descriptors, and gives ",
                                  files.size()),
                          kIsItTheBroker);
        return Answered{*std::move(answer), std::move(files)};
    });
}

Result<Descriptors> Client::get(const Wanted& wanted) {
    return guarded(Operation::none, [&]() -> Result<Descriptors> {
        auto answered = ask(encode(Request{.iommufd = wanted.iommufd,
                                           .mediated = wanted.mediated,
                                           .devices = wanted.devices,
                                           .vdpa = wanted.vdpa,
                                           .memlock = wanted.memlock}),
                            {});
        if (!answered) return answered.error();
        Descriptors descriptors;
        descriptors.entries_.reserve(answered->files.size());
        for (const Given& given : answered->answer.given)
            descriptors.entries_.push_back({std::string(name(given.kind)), given.name, -1});
        descriptors.notes_ = std::move(answered->answer.notes);
        descriptors.attached_ = std::move(answered->answer.attached);
        for (std::size_t i = 0; i < answered->files.size(); ++i)
            descriptors.entries_[i].number = answered->files[i].release();
        return descriptors;
    });
}

Result<MappedMemory> Client::map(const MemoryWanted& wanted) {
    return guarded(Operation::none, [&]() -> Result<MappedMemory> {
        if (wanted.memory < 0)
            return cannot("have memory mapped", EBADF, "there is no descriptor", "pass a memfd");
        Request request;
        request.mapping =
            MapRequest{.part = {.offset = wanted.offset, .length = wanted.length, .write = wanted.write},
                       .iova = wanted.iova ? std::optional(wanted.iova->value) : std::nullopt};
        auto answered = ask(encode(request), std::span(&wanted.memory, 1));
        if (!answered) return answered.error();
        if (!answered->answer.mapped)
            return cannot(kAsk, EPROTO, "it answers something else", kIsItTheBroker);
        return MappedMemory{answered->answer.mapped->first, answered->answer.mapped->length()};
    });
}

Result<std::uint64_t> Client::unmap(Iova iova) {
    return guarded(Operation::none, [&]() -> Result<std::uint64_t> {
        Request request;
        request.mapping = UnmapRequest{.iova = iova.value};
        auto answered = ask(encode(request), {});
        if (!answered) return answered.error();
        if (!answered->answer.unmapped)
            return cannot(kAsk, EPROTO, "it answers something else", kIsItTheBroker);
        return answered->answer.unmapped->length();
    });
}

}  // namespace iommufd::inline v0_1::broker
