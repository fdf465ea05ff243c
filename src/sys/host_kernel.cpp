// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::sys {
namespace {

template <class Value>
Value result(Value value) {
    return value < 0 ? static_cast<Value>(-errno) : value;
}

FileStatus file_status(const struct stat& from) {
    return {.mode = from.st_mode,
            .device = from.st_rdev,
            .container = from.st_dev,
            .inode = from.st_ino,
            .size = static_cast<std::uint64_t>(from.st_size)};
}

class HostKernel final : public Kernel {
public:
    int open(const char* path, int flags) override { return result(::open(path, flags | O_CLOEXEC)); }
    int dup(int fd) override { return result(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
    int close(int fd) override { return result(::close(fd)); }

    int ioctl(int fd, unsigned long request, void* argument) override {
        return result(::ioctl(fd, request, argument));
    }

    ssize_t read(int fd, void* buffer, std::size_t length) override {
        return result(::read(fd, buffer, length));
    }
    ssize_t write(int fd, const void* buffer, std::size_t length) override {
        return result(::write(fd, buffer, length));
    }
    ssize_t pread(int fd, void* buffer, std::size_t length, std::uint64_t offset) override {
        return result(::pread(fd, buffer, length, static_cast<off_t>(offset)));
    }
    ssize_t pwrite(int fd, const void* buffer, std::size_t length, std::uint64_t offset) override {
        return result(::pwrite(fd, buffer, length, static_cast<off_t>(offset)));
    }

    int mmap(void** address, std::size_t length, int protection, int flags, int fd,
             std::uint64_t offset) override {
        void* const mapped = ::mmap(*address, length, protection, flags, fd, static_cast<off_t>(offset));
        if (mapped == MAP_FAILED) return -errno;
        *address = mapped;
        return 0;
    }
    int munmap(void* address, std::size_t length) override { return result(::munmap(address, length)); }

    int poll(std::span<pollfd> descriptors, int timeout_ms) override {
        return result(::poll(descriptors.data(), descriptors.size(), timeout_ms));
    }

    int fstat(int fd, FileStatus& status) override {
        struct stat found{};
        if (::fstat(fd, &found) < 0) return -errno;
        status = file_status(found);
        return 0;
    }

    int same_file(int a, int b) override {
        const pid_t self = ::getpid();
        const long order = ::syscall(SYS_kcmp, self, self, KCMP_FILE, a, b);
        if (order < 0) return -errno;
        return order == 0 ? 1 : 0;
    }

    int shares_file(pid_t process, int its, int ours) override {
        const long order = ::syscall(SYS_kcmp, process, ::getpid(), KCMP_FILE, its, ours);
        if (order < 0) return -errno;
        return order == 0 ? 1 : 0;
    }

    int stat(const char* path, FileStatus& status) override {
        struct stat found{};
        if (::stat(path, &found) < 0) return -errno;
        status = file_status(found);
        return 0;
    }

    int readlink(const char* path, std::string& target) override {
        char buffer[4096];
        const ssize_t length = ::readlink(path, buffer, sizeof buffer);
        if (length < 0) return -errno;
        target.assign(buffer, static_cast<std::size_t>(length));
        return 0;
    }

    int readdir(const char* path, std::vector<std::string>& names) override {
        const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path), ::closedir);
        if (!folder) return -errno;
        names.clear();
        while (const dirent* const entry = ::readdir(folder.get())) {  // NOLINT(concurrency-mt-unsafe)
            const std::string_view name = entry->d_name;
            if (name != "." && name != "..") names.emplace_back(name);
        }
        std::ranges::sort(names);
        return 0;
    }

    int read_file(const char* path, std::string& content) override {
        constexpr std::size_t kMost = 64UL << 10;
        content.resize(kMost);  // may throw: before there is a descriptor
        const int fd = open(path, O_RDONLY);
        if (fd < 0) {
            content.clear();
            return fd;
        }
        std::size_t length = 0;
        ssize_t got = 0;
        while (length < kMost && (got = read(fd, content.data() + length, kMost - length)) > 0)
            length += static_cast<std::size_t>(got);
        content.resize(length);
        (void)close(fd);
        return got < 0 ? static_cast<int>(got) : 0;
    }
};

}  // namespace

int Kernel::same_file(int, int) { return -ENOSYS; }
int Kernel::shares_file(pid_t, int, int) { return -ENOSYS; }

Kernel& host_kernel() noexcept {
    static HostKernel kernel;
    return kernel;
}

}  // namespace iommufd::inline v0_1::sys
