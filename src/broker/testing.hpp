// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the tests of this layer share.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "broker/peer.hpp"

namespace iommufd::inline v0_1::broker {

// Two ends of a connection within this process.
inline std::pair<sys::Fd, sys::Fd> socket_pair() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {sys::Fd(sys::host_kernel(), ends[0]), sys::Fd(sys::host_kernel(), ends[1])};
}

inline Peer ourselves() {
    const auto [one, other] = socket_pair();
    return Peer::of(one.number()).value();
}

// A folder with the path of a socket in it.
class SocketFolder {
public:
    explicit SocketFolder(const std::string& parent) : name_(parent + "brokerXXXXXX") {
        EXPECT_TRUE(::mkdtemp(name_.data()));
    }
    SocketFolder(const SocketFolder&) = delete;
    SocketFolder& operator=(const SocketFolder&) = delete;
    ~SocketFolder() { std::filesystem::remove_all(name_); }

    const std::string& name() const noexcept { return name_; }
    std::string path() const { return name_ + "/socket"; }

    sys::Fd listen() const {
        sys::Fd socket = made();
        const sockaddr_un address = its_address();
        std::filesystem::remove(path());
        EXPECT_EQ(::bind(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(::listen(socket.number(), SOMAXCONN), 0);
        return socket;
    }
    sys::Fd connect() const {
        sys::Fd socket = made();
        const sockaddr_un address = its_address();
        EXPECT_EQ(::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        return socket;
    }

private:
    static sys::Fd made() { return {sys::host_kernel(), ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}; }
    sockaddr_un its_address() const {
        const std::string where = path();
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, where.data(), where.size());
        return address;
    }
    std::string name_;
};

// A child process that stays until it is ended.
class Child {
public:
    explicit Child(const std::function<void()>& does = [] {}) {
        process_ = ::fork();
        if (process_ == 0) {
            does();
            for (;;) ::pause();
        }
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() { end(); }

    pid_t process() const noexcept { return process_; }
    // Afterwards its number is free for another process.
    void end() {
        if (process_ <= 0) return;
        (void)::kill(process_, SIGKILL);
        (void)::waitpid(process_, nullptr, 0);
        process_ = -1;
    }

private:
    pid_t process_ = -1;
};

// A client that has ended, and whose number another process has: this one.
inline Peer reused() {
    Child child;
    Peer peer{
        .process = ::getpid(),
        .user = ::getuid(),
        .group = ::getgid(),
        .handle = {sys::host_kernel(), static_cast<int>(::syscall(SYS_pidfd_open, child.process(), 0))}};
    EXPECT_TRUE(peer.is_alive());
    child.end();
    return peer;
}

}  // namespace iommufd::inline v0_1::broker
