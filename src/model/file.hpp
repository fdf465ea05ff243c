// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a descriptor of the model stands for: an open file, shared by all descriptors that were
// duplicated from the first. It is destroyed when the last of them is closed.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "model/user.hpp"

namespace iommufd::inline v0_1::model {

class File {
public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    virtual ~File() = default;

    // Each returns what the system call returns, or a negative errno.
    virtual int ioctl(unsigned long request, user::Address argument) = 0;
    virtual ssize_t read(user::Address, std::size_t) { return -EINVAL; }
    virtual ssize_t write(user::Address, std::size_t) { return -EINVAL; }
    virtual ssize_t pread(user::Address, std::size_t, std::uint64_t) { return -EINVAL; }
    virtual ssize_t pwrite(user::Address, std::size_t, std::uint64_t) { return -EINVAL; }
    // `*address` is a hint on the way in and the mapping on the way out.
    virtual int mmap(void** /*address*/, std::size_t, int /*protection*/, int /*flags*/, std::uint64_t) {
        return -ENODEV;
    }
    // mmap by a program that is not this process, of `own`, which is what its descriptor stands for: whether that is right,
    // and then `own` holds there what the program is to see.
    virtual int show(int /*own*/, std::size_t, int /*protection*/, int /*flags*/, std::uint64_t) {
        return -ENODEV;
    }
};

}  // namespace iommufd::inline v0_1::model
