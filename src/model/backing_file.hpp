// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A file whose pages are mapped for DMA: held open, and mapped here once however many areas show it.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>

#include "model/caller.hpp"
#include "model/physical.hpp"
#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class BackingFile {
public:
    // One that isn't `pinnable` is held, but its pages can't be made present.
    explicit BackingFile(int fd, bool pinnable = true) noexcept;
    BackingFile(const BackingFile&) = delete;
    BackingFile& operator=(const BackingFile&) = delete;
    ~BackingFile();

    // Makes whole pages of the file present. -EINVAL where they are beyond its end or where it isn't in
    // memory (memfd, shmem, hugetlbfs).
    int populate(std::uint64_t offset, std::uint64_t length) IOMMUFD_EXCLUDES(mutex_);
    std::uint64_t page_size() const noexcept { return page_size_; }
    // Where this process has what was populated; good until the file goes.
    physical::Address address(std::uint64_t offset) const IOMMUFD_EXCLUDES(mutex_);

private:
    struct View;

    int map_whole(std::uint64_t size) IOMMUFD_REQUIRES(mutex_);

    const int fd_;
    const bool pinnable_;
    std::uint64_t page_size_ = user::kPage;
    mutable sys::Mutex mutex_;
    // A file that grew is mapped again, as a whole; addresses in the older views stay good.
    std::unique_ptr<View> view_ IOMMUFD_GUARDED_BY(mutex_);
};

// The files that are held, by inode.
class BackingFiles {
public:
    // A file for the caller's descriptor, or -EBADF, -EMFILE.
    int get(int fd, bool pinnable, std::shared_ptr<BackingFile>& file) IOMMUFD_EXCLUDES(mutex_);

private:
    sys::Mutex mutex_;
    std::map<FileIdentity, std::weak_ptr<BackingFile>> files_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
