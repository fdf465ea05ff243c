// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which descriptors of the programs are the model's. Each stands on a memfd of its own, which makes it a
// real descriptor, always ready to poll; the memfd's inode says which open file it is, so that a
// duplicate made behind the model's back is known as soon as it is used.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <set>

#include "model/caller.hpp"
#include "model/file.hpp"
#include "sys/kernel.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class FileTable {
public:
    struct Found {
        std::shared_ptr<File> file;
        dev_t device = 0;
        explicit operator bool() const { return file != nullptr; }
    };

    // A new descriptor of the caller for the file, or a negative errno. `name` is what /proc/self/fd shows.
    int install(std::shared_ptr<File> file, const char* name, dev_t device) IOMMUFD_EXCLUDES(mutex_);
    // The same for what a descriptor of this process stands for, which no other file has; it is closed on an error.
    int adopt(int fd, std::shared_ptr<File> file, dev_t device = 0) IOMMUFD_EXCLUDES(mutex_);
    // Empty where the descriptor isn't the model's.
    Found find(int fd) IOMMUFD_EXCLUDES(mutex_);
    // Whether the caller has such a descriptor at all.
    static bool is_open(int fd);
    int dup(int fd) IOMMUFD_EXCLUDES(mutex_);
    int close(int fd) IOMMUFD_EXCLUDES(mutex_);
    // Of a program that is not this process no close is seen but the last, of which somebody else knows.
    Found find(const FileIdentity& identity) const IOMMUFD_EXCLUDES(mutex_);
    void forget(const FileIdentity& identity) IOMMUFD_EXCLUDES(mutex_);

    std::size_t open_descriptors() const IOMMUFD_EXCLUDES(mutex_);

private:
    struct Open {
        std::shared_ptr<File> file;
        dev_t device;
        std::set<int> numbers;
    };

    mutable sys::Mutex mutex_;
    std::map<FileIdentity, Open> open_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
