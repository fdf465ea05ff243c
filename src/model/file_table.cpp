// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/file_table.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

namespace iommufd::inline v0_1::model {

int FileTable::install(std::shared_ptr<File> file, const char* name, dev_t device) {
    const int fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);  // see BarMemory
    return fd < 0 ? -errno : adopt(fd, std::move(file), device);
}

int FileTable::adopt(int fd, std::shared_ptr<File> file, dev_t device) {
    struct stat found{};
    (void)::fstat(fd, &found);
    const FileIdentity identity = identity_of(found);
    try {
        const sys::Lock lock(mutex_);
        open_.emplace(identity, Open{.file = std::move(file), .device = device, .numbers = {fd}});
    } catch (const std::bad_alloc&) {
        (void)::close(fd);
        return -ENOMEM;
    }
    int given = 0;
    try {
        given = caller().give(fd);
    } catch (const std::bad_alloc&) {
        given = -ENOMEM;
    }
    if (given < 0) forget(identity);
    return given;
}

FileTable::Found FileTable::find(const FileIdentity& identity) const {
    const sys::Lock lock(mutex_);
    const auto found = open_.find(identity);
    if (found == open_.end()) return {};
    return {.file = found->second.file, .device = found->second.device};
}

void FileTable::forget(const FileIdentity& identity) {
    std::shared_ptr<File> last;  // destroyed without the mutex
    const sys::Lock lock(mutex_);
    const auto found = open_.find(identity);
    if (found == open_.end()) return;
    last = std::move(found->second.file);
    open_.erase(found);
}

FileTable::Found FileTable::find(int fd) {
    FileIdentity identity{};
    if (!caller().identify(fd, identity)) return {};
    const sys::Lock lock(mutex_);
    const auto found = open_.find(identity);
    if (found == open_.end()) return {};
    found->second.numbers.insert(fd);
    return {.file = found->second.file, .device = found->second.device};
}

bool FileTable::is_open(int fd) {
    FileIdentity identity{};
    return caller().identify(fd, identity);
}

int FileTable::dup(int fd) {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return -errno;
    try {
        (void)find(copy);
    } catch (const std::bad_alloc&) {
        (void)::close(copy);
        return -ENOMEM;
    }
    return copy;
}

int FileTable::close(int fd) {
    FileIdentity identity{};
    if (!caller().identify(fd, identity)) return -EBADF;
    std::shared_ptr<File> last;  // destroyed without the mutex
    {
        const sys::Lock lock(mutex_);
        if (const auto found = open_.find(identity); found != open_.end()) {
            found->second.numbers.erase(fd);
            if (found->second.numbers.empty()) {
                last = std::move(found->second.file);
                open_.erase(found);
            }
        }
    }
    return caller().close(fd);
}

std::size_t FileTable::open_descriptors() const {
    const sys::Lock lock(mutex_);
    std::size_t count = 0;
    for (const auto& [identity, open] : open_) count += open.numbers.size();
    return count;
}

}  // namespace iommufd::inline v0_1::model
