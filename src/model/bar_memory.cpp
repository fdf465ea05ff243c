// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/bar_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "model/move_all.hpp"
#include "model/open_again.hpp"

namespace iommufd::inline v0_1::model {
namespace {

// A file that is open for writing as short as it can be: whoever wants to know whether a program has still opened it asks
// whether anybody can write to it.
class Writing {
public:
    explicit Writing(int file) noexcept : file_(open_again(file, O_RDWR)) {}
    ~Writing() {
        if (file_ >= 0) (void)::close(file_);
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

    explicit operator bool() const noexcept { return file_ >= 0; }
    int number() const noexcept { return file_; }

private:
    const int file_;
};

// Of one file to another, but for what was never written to.
bool copy(int from, std::uint64_t from_offset, int to, std::uint64_t to_offset, std::uint64_t size) noexcept {
    std::array<char, 16384> part{};
    const auto end = static_cast<off_t>(from_offset + size);
    off_t at = ::lseek(from, static_cast<off_t>(from_offset), SEEK_DATA);
    while (at >= 0 && at < end) {
        const off_t hole = ::lseek(from, at, SEEK_HOLE);
        for (const off_t last = hole < 0 ? end : std::min(hole, end); at < last;) {
            const std::size_t now = std::min<std::size_t>(part.size(), static_cast<std::size_t>(last - at));
            const off_t target = at - static_cast<off_t>(from_offset) + static_cast<off_t>(to_offset);
            if (::pread(from, part.data(), now, at) != static_cast<ssize_t>(now) ||
                ::pwrite(to, part.data(), now, target) != static_cast<ssize_t>(now))
                return false;
            at += static_cast<off_t>(now);
        }
        at = ::lseek(from, at, SEEK_DATA);
    }
    return at >= 0 || errno == ENXIO;
}

}  // namespace

BarView::~BarView() {
    if (memory_ != nullptr) (void)::munmap(memory_, size_);
}

BarMemory::BarMemory(std::uint64_t size, bool lasting)
    : size_(size), lasting_(lasting), store_(::memfd_create("bar", MFD_CLOEXEC)) {
    if (store_ >= 0 && ::ftruncate(store_, static_cast<off_t>(size)) == 0) return;
    if (store_ >= 0) (void)::close(store_);
    throw std::bad_alloc();
}

BarMemory::~BarMemory() {
    if (shown_) (void)::close(shown_->file);
    (void)::close(store_);
}

bool BarMemory::fill(const Shown& shown) noexcept {
    const Writing file(shown.file);
    struct stat found{};
    if (!file || ::fstat(file.number(), &found) < 0) return false;
    const auto end = static_cast<off_t>(shown.offset + size_);
    if (found.st_size < end && ::ftruncate(file.number(), end) < 0) return false;
    // The program can write to the file as well, and could make it shorter before it is sealed.
    if (lasting_ && (::fcntl(file.number(), F_ADD_SEALS, F_SEAL_SHRINK) < 0 ||
                     ::fstat(file.number(), &found) < 0 || found.st_size < end))
        return false;
    return copy(store_, 0, file.number(), shown.offset, size_);
}

bool BarMemory::empty(const Shown& shown) noexcept {
    // What is a hole in the file must be one in the store.
    const Writing file(shown.file);
    return file && ::ftruncate(store_, 0) == 0 && ::ftruncate(store_, static_cast<off_t>(size_)) == 0 &&
           copy(file.number(), shown.offset, store_, 0, size_) &&
           ::ftruncate(file.number(), static_cast<off_t>(shown.offset)) == 0;
}

int BarMemory::show_in(int file, std::uint64_t offset) {
    struct stat found{};
    if (::fstat(file, &found) < 0) return -ENOMEM;
    const FileIdentity identity = identity_of(found);
    const sys::Lock lock(mutex_);
    if (shown_) return shown_->identity == identity ? 0 : -ENOMEM;
    const Shown shown{
        .identity = identity, .file = open_again(file, O_RDONLY), .offset = offset, .away = false};
    if (shown.file >= 0 && fill(shown)) {
        shown_ = shown;
        return 0;
    }
    if (shown.file >= 0) (void)::close(shown.file);
    return -ENOMEM;
}

int BarMemory::map(void** address, std::size_t length, int protection, int flags, std::uint64_t offset) {
    int own = -1;
    {
        const sys::Lock lock(mutex_);
        own = shown_ ? open_again(shown_->file, O_RDWR)
                     : ::memfd_create("bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (own < 0) return -ENOMEM;
    int rc = show_in(own, 0);
    if (rc == 0) {
        void* const mapped = ::mmap(*address, length, protection, flags, own, static_cast<off_t>(offset));
        rc = mapped == MAP_FAILED ? -errno : 0;
        if (rc == 0) *address = mapped;
    }
    (void)::close(own);
    return rc;
}

BarView BarMemory::view(bool writable) {
    const sys::Lock lock(mutex_);
    if (!shown_) return {};
    const int file = open_again(shown_->file, writable ? O_RDWR : O_RDONLY);
    if (file < 0) return {};
    void* const memory = ::mmap(nullptr, size_, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED,
                                file, static_cast<off_t>(shown_->offset));
    (void)::close(file);
    return memory == MAP_FAILED ? BarView{} : BarView(static_cast<std::byte*>(memory), size_);
}

void BarMemory::withdraw() noexcept {
    const sys::Lock lock(mutex_);
    if (!shown_) return;
    if (!shown_->away && !lasting_) (void)empty(*shown_);
    (void)::close(shown_->file);
    shown_.reset();
}

void BarMemory::take_away() noexcept {
    const sys::Lock lock(mutex_);
    if (shown_ && !shown_->away && !lasting_) shown_->away = empty(*shown_);
}

void BarMemory::give_back() noexcept {
    const sys::Lock lock(mutex_);
    if (shown_ && shown_->away) shown_->away = !fill(*shown_);
}

int BarMemory::in_use(std::uint64_t& offset) const noexcept {
    const bool is_shown = shown_ && !shown_->away;
    offset = is_shown ? shown_->offset : 0;
    return is_shown ? shown_->file : store_;
}

int BarMemory::read(void* to, std::uint64_t from, std::size_t length) noexcept {
    if (from > size_ || length > size_ - from) return -EFAULT;
    const sys::Lock lock(mutex_);
    std::uint64_t offset = 0;
    const int file = in_use(offset);
    return move_all(length, [&](std::size_t done, std::size_t rest) {
        return ::pread(file, static_cast<std::byte*>(to) + done, rest,
                       static_cast<off_t>(offset + from + done));
    });
}

int BarMemory::write(std::uint64_t to, const void* from, std::size_t length) noexcept {
    if (to > size_ || length > size_ - to) return -EFAULT;
    const sys::Lock lock(mutex_);
    std::uint64_t offset = 0;
    const Writing file(in_use(offset));
    return move_all(length, [&](std::size_t done, std::size_t rest) {
        return ::pwrite(file.number(), static_cast<const std::byte*>(from) + done, rest,
                        static_cast<off_t>(offset + to + done));
    });
}

}  // namespace iommufd::inline v0_1::model
