// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A kernel whose n-th call fails: for the walk over every failure point of a sequence.
//
//     for (std::uint64_t n = 1;; ++n) {
//         FaultyKernel kernel(inner, {.call = n, .error = ENOMEM});
//         bring_up_and_tear_down(kernel);
//         if (!kernel.struck()) break;       // n is past the last call
//         nothing_is_left(inner);
//     }
//
// Calls are counted from 1, over all threads; look-ups of the machine count as well.
#pragma once

#include <atomic>
#include <cstdint>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::sys {

struct Fault {
    std::uint64_t call = 0;  // 0: none
    int error = 0;           // a positive errno
    // A call that releases something (close, munmap, DESTROY, IOAS_UNMAP, DETACH, IOTLB INVALIDATE) may
    // also do its work and then report the error. Other calls never fail after their effect.
    bool after_effect = false;
};

class FaultyKernel : public Kernel {
public:
    explicit FaultyKernel(Kernel& inner, Fault fault = {}) : inner_(inner), fault_(fault) {}

    bool struck() const noexcept { return struck_; }
    std::uint64_t calls() const noexcept { return calls_; }

    int open(const char* path, int flags) override;
    int dup(int fd) override;
    int close(int fd) override;
    int ioctl(int fd, unsigned long request, void* argument) override;
    ssize_t read(int fd, void* buffer, std::size_t length) override;
    ssize_t write(int fd, const void* buffer, std::size_t length) override;
    ssize_t pread(int fd, void* buffer, std::size_t length, std::uint64_t offset) override;
    ssize_t pwrite(int fd, const void* buffer, std::size_t length, std::uint64_t offset) override;
    int mmap(void** address, std::size_t length, int protection, int flags, int fd,
             std::uint64_t offset) override;
    int munmap(void* address, std::size_t length) override;
    int poll(std::span<pollfd> descriptors, int timeout_ms) override;
    int fstat(int fd, FileStatus& status) override;
    int same_file(int a, int b) override;
    int shares_file(pid_t process, int its, int ours) override;
    int stat(const char* path, FileStatus& status) override;
    int readlink(const char* path, std::string& target) override;
    int readdir(const char* path, std::vector<std::string>& names) override;
    int read_file(const char* path, std::string& content) override;

private:
    template <class Call>
    auto acquiring(Call&& call) -> decltype(call());
    template <class Call>
    auto releasing(Call&& call) -> decltype(call());
    bool strikes() noexcept;

    Kernel& inner_;
    const Fault fault_;
    std::atomic<std::uint64_t> calls_ = 0;
    std::atomic<bool> struck_ = false;
};

}  // namespace iommufd::inline v0_1::sys
