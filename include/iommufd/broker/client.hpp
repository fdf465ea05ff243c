// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a process that may open neither /dev/iommu nor devices asks of the broker (`iommufd serve`).
//
//     auto broker = broker::Client::connect("/run/iommufd/broker.sock").value();
//     auto mine = broker.get({.iommufd = true, .devices = {"0000:02:00.0"}}).value();
//     auto backend = Backend::adopt(mine.take_iommufd().number).value();
//     auto device = vfio::Cdev::from(mine.take_device("0000:02:00.0")).value().bind(backend).value();
//
//     Client --get--> Descriptors: of one iommufd, and of VFIO devices that it is to be bound to, and of vhost-vdpa
//
// Who isn't trusted with an iommufd has the broker map for it (mediated):
//
//     auto seen = broker.get({.devices = {"0000:02:00.0"}, .mediated = true}).value();   // attached to a space of this client alone
//     auto mapped = broker.map({.memory = memfd, .length = 2_MiB, .write = true}).value();   // sealed: shrink, grow; allocated
//     ... the device works at mapped.iova ...
//     broker.unmap(mapped.iova).value();
//
// The connection is the hand-over: when it is closed, also because the process has ended, devices are reset and detached, and all that is in the
// iommufd is destroyed, though duplicates may still be open. So keep the Client as long as you work with what it got.
//
// Threads: one call at a time for one Client.
// Linux: 6.5 on the broker's side.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/core/context.hpp"
#include "iommufd/core/types.hpp"
#include "iommufd/error/result.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::broker {

struct Wanted {
    bool iommufd = false;
    std::vector<std::string> devices = {};  // "0000:02:00.0", "02:00.0", UUIDs of mdevs
    std::vector<std::string> vdpa = {};     // "/dev/vhost-vdpa-0"
    std::optional<std::uint64_t> memlock =
        {};                 // bytes that this process must be allowed to lock; ~0: any number
    bool mediated = false;  // the broker keeps the devices, attached to a space in which map() maps
};

// A part of a memfd, whole pages. It must be sealed with F_SEAL_SHRINK and F_SEAL_GROW, and each page of it touched (posix_fallocate
// alone isn't enough); if devices are to write, open for reading and writing, and not sealed against that.
struct MemoryWanted {
    int memory;  // borrowed
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool write = false;
    std::optional<Iova> iova = {};  // nothing: the broker chooses
};
struct MappedMemory {
    Iova iova;
    std::uint64_t length;
};

// What the broker gave. The descriptors are closed with it, unless they were taken.
class IOMMUFD_EXPORT Descriptors {
public:
    struct Entry {
        std::string kind;  // "iommufd", "vfio", "vdpa"
        std::string name;  // "0000:02:00.0"; "/dev/vhost-vdpa-0"
        int number;        // close-on-exec; -1: taken
    };

    Descriptors(Descriptors&&) noexcept = default;
    Descriptors& operator=(Descriptors&&) noexcept;
    ~Descriptors();

    const std::vector<Entry>& entries() const noexcept { return entries_; }
    // What the broker says besides, for people.
    const std::vector<std::string>& notes() const noexcept { return notes_; }
    // Devices that see what map() maps; entries() has those of them that the policy gives away as well.
    const std::vector<std::string>& attached() const noexcept { return attached_; }

    // -1: there is none, or it was taken. A device is named in full.
    AdoptFd take_iommufd() noexcept { return take("iommufd", "iommufd"); }
    AdoptFd take_device(std::string_view name) noexcept { return take("vfio", name); }
    AdoptFd take_vdpa(std::string_view path) noexcept { return take("vdpa", path); }

private:
    friend class Client;
    Descriptors() = default;
    AdoptFd take(std::string_view kind, std::string_view name) noexcept;
    std::vector<Entry> entries_;
    std::vector<std::string> notes_;
    std::vector<std::string> attached_;
};

class IOMMUFD_EXPORT Client {
public:
    struct Options {
        std::chrono::milliseconds patience{10'000};  // with the broker, for each call
        // As whom the broker must run; nothing: as root, or as this process. Under socket activation it is who listens.
        std::optional<std::uint32_t> broker_user = {};
    };

    // ELOOP: the path's last component is a symbolic link, which may lead anywhere; ENOTSOCK; ECONNREFUSED: nobody listens there;
    // EPERM: it is somebody else's socket.
    static Result<Client> connect(const std::string& path);
    static Result<Client> connect(const std::string& path, Options options);
    // A connected socket, which is taken, also on failure; whose it is is the caller's business.
    static Result<Client> over(AdoptFd socket, Options options);

    Client(Client&& other) noexcept;
    Client& operator=(Client&& other) noexcept;
    ~Client();

    // Borrowed. It becomes readable when the broker ends; what was given stays.
    int fd() const noexcept { return socket_; }

    // All of it, or nothing. The broker's refusal with its reason (EACCES, EBUSY, EDQUOT, EPERM, ...); EPIPE: it has hung up;
    // ETIMEDOUT; EPROTO: it is something else. After these three the connection is of no use any more.
    Result<Descriptors> get(const Wanted& wanted);

    // Has memory mapped for the mediated devices of this client. ENODEV: it has none; EBADF, EPERM, EACCES, EINVAL, ENODATA: the memfd isn't as it must
    // be; EEXIST, ENOSPC; EDQUOT; ETIMEDOUT; ENOMEM: the broker's own limit. EPIPE and EPROTO as with get().
    Result<MappedMemory> map(const MemoryWanted& wanted);
    // What was mapped at once, by its iova; returns the bytes. ENOENT: nothing of this client's begins there.
    Result<std::uint64_t> unmap(Iova iova);

private:
    struct Answered;
    Result<Answered> ask(std::string_view message, std::span<const int> descriptors);
    Client(int socket, Options options) noexcept : socket_(socket), options_(options) {}
    int socket_;
    Options options_;
};

}  // namespace iommufd::inline v0_1::broker
