// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The seam between this library and the operating system.
//
//     core, vfio, vdpa, ...  -->  Kernel  <|--  HostKernel     the machine's own
//                                          <|--  model::Machine a kernel in this process
//                                          <|--  FaultyKernel   fails the n-th call of another one
//
// Every call returns what Linux returns: a value >= 0, or a negative errno. `errno` itself is not used.
// Every descriptor that an implementation returns is a real one of this process, so that poll, epoll,
// fcntl and SCM_RIGHTS work on it with plain libc.
//
// Threads: any call may run at the same time as any other.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::sys {

// What a path or a descriptor is, as far as this library asks.
struct FileStatus {
    mode_t mode;
    dev_t device;     // of a device node: its major and minor number
    dev_t container;  // the file system that holds the file
    ino_t inode;
    std::uint64_t size;
};

class IOMMUFD_EXPORT Kernel {
public:
    Kernel() = default;
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;
    virtual ~Kernel() = default;

    // The descriptor is close-on-exec, whatever the flags say.
    virtual int open(const char* path, int flags) = 0;
    virtual int dup(int fd) = 0;
    // The descriptor is gone whatever this returns, as Linux has it; only EBADF says that it wasn't there.
    virtual int close(int fd) = 0;
    virtual int ioctl(int fd, unsigned long request, void* argument) = 0;
    virtual ssize_t read(int fd, void* buffer, std::size_t length) = 0;
    virtual ssize_t write(int fd, const void* buffer, std::size_t length) = 0;
    virtual ssize_t pread(int fd, void* buffer, std::size_t length, std::uint64_t offset) = 0;
    virtual ssize_t pwrite(int fd, const void* buffer, std::size_t length, std::uint64_t offset) = 0;
    // `*address` is a hint on the way in and the mapping on the way out.
    virtual int mmap(void** address, std::size_t length, int protection, int flags, int fd,
                     std::uint64_t offset) = 0;
    virtual int munmap(void* address, std::size_t length) = 0;
    virtual int poll(std::span<pollfd> descriptors, int timeout_ms) = 0;
    virtual int fstat(int fd, FileStatus& status) = 0;
    // 1 where both descriptors stand for one open file (kcmp), 0 where they don't; -ENOSYS: can't be told.
    virtual int same_file(int a, int b);
    // The same of a descriptor of another process; -EPERM: it may not be looked at.
    virtual int shares_file(pid_t process, int its, int ours);

    // Read-only look-up of the machine: /sys, /proc, /dev.
    virtual int stat(const char* path, FileStatus& status) = 0;
    virtual int readlink(const char* path, std::string& target) = 0;
    virtual int readdir(const char* path, std::vector<std::string>& names) = 0;
    // At most 64 KiB: what sysfs and procfs hold.
    virtual int read_file(const char* path, std::string& content) = 0;
};

// The machine's own kernel. It has no state, and lives as long as the process.
IOMMUFD_EXPORT Kernel& host_kernel() noexcept;

}  // namespace iommufd::inline v0_1::sys
