// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The model behind the seam: what is the model's goes to its files and its tree, all else to the host.
#pragma once

#include "model/file_table.hpp"
#include "model/mappings.hpp"
#include "model/tree.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::model {

class ModelKernel final : public sys::Kernel {
public:
    ModelKernel(const Tree& tree, FileTable& files, Mappings& mappings)
        : tree_(tree), files_(files), mappings_(mappings) {}

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
    int fstat(int fd, sys::FileStatus& status) override;
    int same_file(int a, int b) override { return host_.same_file(a, b); }

    int stat(const char* path, sys::FileStatus& status) override;
    int readlink(const char* path, std::string& target) override;
    int readdir(const char* path, std::vector<std::string>& names) override;
    int read_file(const char* path, std::string& content) override;

private:
    int open_here(const char* path, int flags);

    const Tree& tree_;
    FileTable& files_;
    Mappings& mappings_;
    sys::Kernel& host_ = sys::host_kernel();
};

}  // namespace iommufd::inline v0_1::model
