// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A kernel that agrees to everything and does nothing: what is left of a call is the library.
#pragma once

#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::bench {

class NoopKernel final : public sys::Kernel {
public:
    int open(const char*, int) override { return 1000; }
    int dup(int) override { return 1000; }
    int close(int) override { return 0; }
    ssize_t read(int, void*, std::size_t) override { return 0; }
    ssize_t write(int, const void*, std::size_t length) override { return static_cast<ssize_t>(length); }
    ssize_t pread(int, void*, std::size_t, std::uint64_t) override { return 0; }
    ssize_t pwrite(int, const void*, std::size_t length, std::uint64_t) override {
        return static_cast<ssize_t>(length);
    }
    int mmap(void** address, std::size_t length, int protection, int flags, int fd,
             std::uint64_t offset) override {
        return host_.mmap(address, length, protection, flags, fd, offset);
    }
    int munmap(void* address, std::size_t length) override { return host_.munmap(address, length); }
    int poll(std::span<pollfd>, int) override { return 0; }
    int fstat(int, sys::FileStatus&) override { return 0; }
    int stat(const char*, sys::FileStatus&) override { return -ENOENT; }
    int readlink(const char*, std::string&) override { return -ENOENT; }
    int readdir(const char*, std::vector<std::string>&) override { return -ENOENT; }
    int read_file(const char*, std::string&) override { return -ENOENT; }

    int ioctl(int, unsigned long request, void* argument) override {
        switch (request) {
            case uapi::kIoasAlloc:
                static_cast<uapi::IoasAlloc*>(argument)->out_ioas_id = 1;
                return 0;
            case uapi::kHwptAlloc:
                static_cast<uapi::HwptAlloc*>(argument)->out_hwpt_id = 2;
                return 0;
            case uapi::kIoasIovaRanges: {
                auto& command = *static_cast<uapi::IoasIovaRanges*>(argument);
                command.num_iovas = 1;
                command.out_iova_alignment = 4096;
                *reinterpret_cast<uapi::IovaRange*>(command.allowed_iovas) = {.start = 0,
                                                                              .last = (1ULL << 48) - 1};
                return 0;
            }
            default:
                return 0;
        }
    }

private:
    sys::Kernel& host_ = sys::host_kernel();
};

}  // namespace iommufd::inline v0_1::bench
