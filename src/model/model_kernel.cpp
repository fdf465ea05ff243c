// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/model_kernel.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>

namespace iommufd::inline v0_1::model {
namespace {

// Linux has no memory for it: nothing else can be thrown here.
template <class Call>
auto guarded(Call&& call) -> decltype(call()) {
    try {
        return call();
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
}

// A small file as sysfs would show it, on a descriptor of its own.
int open_content(const std::string& content) {
    const int fd = ::memfd_create("sysfs", MFD_CLOEXEC);
    if (fd < 0) return -errno;
    (void)!::pwrite(fd, content.data(), content.size(), 0);
    return fd;
}

}  // namespace

int ModelKernel::open(const char* path, int flags) {
    if (!tree_.covers(path)) return host_.open(path, flags);
    return guarded([&] { return open_here(path, flags); });
}

int ModelKernel::open_here(const char* path, int flags) {
    const Tree::Entry* entry = nullptr;
    if (const int rc = tree_.find(path, (flags & O_NOFOLLOW) == 0, entry); rc < 0) return rc;
    if (S_ISLNK(entry->mode)) return -ELOOP;
    if (S_ISDIR(entry->mode)) return -EISDIR;  // readdir() lists it
    if ((flags & O_DIRECTORY) != 0) return -ENOTDIR;
    if (S_ISREG(entry->mode)) return (flags & O_ACCMODE) == O_RDONLY ? open_content(entry->text) : -EACCES;
    std::shared_ptr<File> file;
    if (const int rc = entry->open(file); rc < 0) return rc;
    return files_.install(std::move(file), path, entry->device);
}

int ModelKernel::dup(int fd) {
    return guarded([&] { return files_.dup(fd); });
}

int ModelKernel::close(int fd) {
    return guarded([&] { return files_.close(fd); });
}

int ModelKernel::ioctl(int fd, unsigned long request, void* argument) {
    return guarded([&] {
        const FileTable::Found found = files_.find(fd);
        return found ? found.file->ioctl(request, user::address(argument))
                     : host_.ioctl(fd, request, argument);
    });
}

ssize_t ModelKernel::read(int fd, void* buffer, std::size_t length) {
    return guarded([&] {
        const FileTable::Found found = files_.find(fd);
        return found ? found.file->read(user::address(buffer), length) : host_.read(fd, buffer, length);
    });
}

ssize_t ModelKernel::write(int fd, const void* buffer, std::size_t length) {
    return guarded([&] {
        const FileTable::Found found = files_.find(fd);
        return found ? found.file->write(user::address(buffer), length) : host_.write(fd, buffer, length);
    });
}

ssize_t ModelKernel::pread(int fd, void* buffer, std::size_t length, std::uint64_t offset) {
    return guarded([&] {
        const FileTable::Found found = files_.find(fd);
        return found ? found.file->pread(user::address(buffer), length, offset)
                     : host_.pread(fd, buffer, length, offset);
    });
}

ssize_t ModelKernel::pwrite(int fd, const void* buffer, std::size_t length, std::uint64_t offset) {
    return guarded([&] {
        const FileTable::Found found = files_.find(fd);
        return found ? found.file->pwrite(user::address(buffer), length, offset)
                     : host_.pwrite(fd, buffer, length, offset);
    });
}

int ModelKernel::mmap(void** address, std::size_t length, int protection, int flags, int fd,
                      std::uint64_t offset) {
    return guarded([&] {
        const FileTable::Found found = (flags & MAP_ANONYMOUS) != 0 ? FileTable::Found{} : files_.find(fd);
        if (!found) return host_.mmap(address, length, protection, flags, fd, offset);
        if (length == 0 || offset % user::kPage != 0) return -EINVAL;
        return found.file->mmap(address, length, protection, flags, offset);
    });
}

int ModelKernel::munmap(void* address, std::size_t length) {
    const int rc = host_.munmap(address, length);
    if (rc == 0) mappings_.remove(user::address(address), length);
    return rc;
}

// A descriptor of the model stands on a memfd, which is always ready, as Linux's of these files are.
int ModelKernel::poll(std::span<pollfd> descriptors, int timeout_ms) {
    return host_.poll(descriptors, timeout_ms);
}

int ModelKernel::fstat(int fd, sys::FileStatus& status) {
    return guarded([&] {
        const int rc = host_.fstat(fd, status);
        if (rc < 0) return rc;
        if (const FileTable::Found found = files_.find(fd))
            status = {.mode = S_IFCHR | 0600,
                      .device = found.device,
                      .container = status.container,
                      .inode = status.inode,
                      .size = 0};
        return 0;
    });
}

int ModelKernel::stat(const char* path, sys::FileStatus& status) {
    if (!tree_.covers(path)) return host_.stat(path, status);
    return guarded([&] { return tree_.stat(path, status); });
}

int ModelKernel::readlink(const char* path, std::string& target) {
    if (!tree_.covers(path)) return host_.readlink(path, target);
    return guarded([&] { return tree_.readlink(path, target); });
}

int ModelKernel::readdir(const char* path, std::vector<std::string>& names) {
    if (!tree_.covers(path)) return host_.readdir(path, names);
    return guarded([&] { return tree_.readdir(path, names); });
}

int ModelKernel::read_file(const char* path, std::string& content) {
    if (!tree_.covers(path)) return host_.read_file(path, content);
    return guarded([&] { return tree_.read_file(path, content); });
}

}  // namespace iommufd::inline v0_1::model
