// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/backing_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

#include "model/open_again.hpp"

namespace iommufd::inline v0_1::model {

struct BackingFile::View {
    void* memory = nullptr;
    std::uint64_t size = 0;
    bool writable = false;
    std::unique_ptr<View> older = {};

    ~View() {
        if (memory != nullptr) (void)::munmap(memory, size);
    }
};

BackingFile::BackingFile(int fd, bool pinnable) noexcept : fd_(fd), pinnable_(pinnable) {
    struct statfs system{};
    if (::fstatfs(fd_, &system) == 0 && system.f_type == HUGETLBFS_MAGIC)
        page_size_ = static_cast<std::uint64_t>(system.f_bsize);
}

BackingFile::~BackingFile() { (void)::close(fd_); }

int BackingFile::map_whole(std::uint64_t size) {
    std::unique_ptr<View> view(new (std::nothrow) View);
    if (!view) return -ENOMEM;
    bool writable = true;
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (memory == MAP_FAILED && errno == EACCES) {
        // Linux pins a file's pages for writing even through a descriptor that is open for reading only.
        const int fd = open_again(fd_, O_RDWR);
        if (fd >= 0) {
            memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            (void)::close(fd);
        }
    }
    if (memory == MAP_FAILED) {  // sealed against writing: the device's writes will be blocked
        writable = false;
        memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_, 0);
    }
    if (memory == MAP_FAILED) return -EINVAL;
    view->memory = memory;
    view->size = size;
    view->writable = writable;
    view->older = std::exchange(view_, nullptr);
    view_ = std::move(view);
    return 0;
}

int BackingFile::populate(std::uint64_t offset, std::uint64_t length) {
    if (!pinnable_) return -EINVAL;
    struct statfs system{};
    struct stat found{};
    if (::fstatfs(fd_, &system) < 0 || ::fstat(fd_, &found) < 0) return -EINVAL;
    if (system.f_type != TMPFS_MAGIC && system.f_type != HUGETLBFS_MAGIC) return -EINVAL;
    const auto size = static_cast<std::uint64_t>(found.st_size);
    if (!S_ISREG(found.st_mode) || offset >= size || length > size - offset) return -EINVAL;
    physical::Address memory = 0;
    bool writable = false;
    {
        const sys::Lock lock(mutex_);
        if (!view_ || offset + length > view_->size)
            if (const int rc = map_whole(size); rc < 0) return rc;
        memory = user::address(view_->memory) + offset;
        writable = view_->writable;
    }
    return physical::populate(memory, length, writable) < 0 ? -ENOMEM : 0;
}

physical::Address BackingFile::address(std::uint64_t offset) const {
    const sys::Lock lock(mutex_);
    return user::address(view_->memory) + offset;
}

int BackingFiles::get(int fd, bool pinnable, std::shared_ptr<BackingFile>& file) {
    FileIdentity identity{};
    if (!caller().identify(fd, identity)) return -EBADF;
    const sys::Lock lock(mutex_);
    std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
    file = files_[identity].lock();
    if (file) return 0;
    const int own = caller().take(fd);
    if (own < 0) return own;
    try {
        file = std::make_shared<BackingFile>(own, pinnable);
    } catch (const std::bad_alloc&) {
        (void)::close(own);
        return -ENOMEM;
    }
    files_[identity] = file;
    return 0;
}

}  // namespace iommufd::inline v0_1::model
