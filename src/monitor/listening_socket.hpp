// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <sys/types.h>

#include <string>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::monitor {

// A Unix socket that listens at a path, which it takes away again, unless somebody else has put something there.
class ListeningSocket {
public:
    // Errors: see Server::listen(). `mode` says who may connect: the owner only.
    static Result<ListeningSocket> at(const std::string& path, mode_t mode = 0600);

    ListeningSocket(ListeningSocket&& other) noexcept;
    ListeningSocket& operator=(ListeningSocket&&) = delete;
    ~ListeningSocket();

    int fd() const noexcept { return fd_; }

private:
    ListeningSocket(int fd, std::string path) noexcept;
    int fd_;
    std::string path_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace iommufd::inline v0_1::monitor
