// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/held_files.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "model/open_again.hpp"
#include "model/safe_copy.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

// Each may be a mapping of this process, which has need of others.
constexpr std::size_t kMost = 256;

}  // namespace

// All of it, mapped here.
class HeldFiles::File {
public:
    // `start`: null where it can't be mapped.
    File(const sys::Fd& file, const model::FileIdentity& identity, std::uint64_t size)
        : identity_(identity),
          size_(size),
          start_(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.number(), 0)) {}
    ~File() {
        if (is_mapped()) (void)::munmap(start_, size_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    bool is_mapped() const noexcept { return start_ != MAP_FAILED; }
    const model::FileIdentity& identity() const noexcept { return identity_; }
    std::uint64_t size() const noexcept { return size_; }
    std::byte* at(std::uint64_t offset) const noexcept { return static_cast<std::byte*>(start_) + offset; }

private:
    const model::FileIdentity identity_;
    const std::uint64_t size_;
    void* const start_;
};

// By the folder of /proc.
sys::Fd HeldFiles::open(const model::MappedPiece& piece) {
    std::array<char, 64> name{};
    (void)std::snprintf(name.data(), name.size(), "map_files/%lx-%lx",
                        static_cast<unsigned long>(piece.first), static_cast<unsigned long>(piece.last + 1));
    // What it is, before it is opened: opening a device may do something.
    const sys::Fd place(sys::host_kernel(), ::openat(process_.number(), name.data(), O_PATH | O_CLOEXEC));
    if (!place) {
        forbidden_ = errno == EPERM || errno == EACCES;
        return {};
    }
    struct statfs system{};
    struct stat found{};
    if (::fstatfs(place.number(), &system) < 0 || ::fstat(place.number(), &found) < 0) return {};
    const bool is_it =
        model::identity_of(found) == model::FileIdentity{.container = piece.container, .inode = piece.inode};
    if (system.f_type != TMPFS_MAGIC || !S_ISREG(found.st_mode) || !is_it) return {};
    return {sys::host_kernel(), model::open_again(place.number(), O_RDWR)};
}

std::shared_ptr<const HeldFiles::File> HeldFiles::file_of(const model::MappedPiece& piece) {
    const model::FileIdentity identity{.container = piece.container, .inode = piece.inode};
    const std::uint64_t end = piece.offset + (piece.last - piece.first) + 1;
    for (const auto& [last, held] : held_)
        if (held.file->identity() == identity && held.file->size() >= end) return held.file;
    if (held_.size() >= kMost) return nullptr;
    sys::Fd opened = made_.open(identity);
    if (!opened && !forbidden_) opened = open(piece);
    struct stat found{};
    if (!opened || ::fstat(opened.number(), &found) < 0) return nullptr;
    auto file = std::make_shared<const File>(opened, identity, static_cast<std::uint64_t>(found.st_size));
    return file->is_mapped() ? file : nullptr;
}

void HeldFiles::forget(std::uint64_t first, std::uint64_t last) {
    for (auto next = held_.lower_bound(first); next != held_.end() && next->second.first <= last;) {
        const std::uint64_t end = next->first;
        const Held held = next->second;
        next = held_.erase(next);
        if (held.first < first) held_.emplace(first - 1, held);
        if (end > last) {
            Held rest = held;
            rest.offset += last + 1 - held.first;
            rest.first = last + 1;
            held_.emplace(end, std::move(rest));
        }
    }
}

void HeldFiles::hold(const std::vector<model::MappedPiece>& pieces, std::uint64_t first, std::uint64_t last) {
    const sys::Lock lock(mutex_);
    std::map<std::uint64_t, Held> found;
    for (const model::MappedPiece& piece : pieces) {
        if (!piece.shared || piece.last < first || piece.first > last) continue;
        const std::uint64_t from = std::max(first, piece.first);
        const std::uint64_t offset = piece.offset + (from - piece.first);
        auto file = file_of(piece);
        if (!file || file->size() <= offset) continue;
        const std::uint64_t end = std::min({last, piece.last, from + (file->size() - offset - 1)});
        found.emplace(end, Held{.first = from, .offset = offset, .file = std::move(file)});
    }
    forget(first, last);
    held_.merge(found);
}

template <class Move>
std::size_t HeldFiles::move(std::uint64_t at, std::size_t length, Move&& move) noexcept {
    const sys::Lock lock(mutex_);
    std::size_t done = 0;
    while (done < length) {
        const std::uint64_t place = at + done;
        const auto piece = held_.lower_bound(place);
        if (piece == held_.end() || piece->second.first > place) break;
        const std::size_t here = std::min<std::uint64_t>(length - done, piece->first - place + 1);
        const std::uint64_t offset = piece->second.offset + (place - piece->second.first);
        if (move(piece->second.file->at(offset), done, here) < 0) break;
        done += here;
    }
    return done;
}

bool HeldFiles::has_process() const noexcept { return ::faccessat(process_.number(), "fd", F_OK, 0) == 0; }

std::size_t HeldFiles::read(void* to, std::uint64_t from, std::size_t length) noexcept {
    return move(from, length, [&](const std::byte* place, std::size_t done, std::size_t here) {
        return model::safe_copy_to_cached(static_cast<std::byte*>(to) + done, place, here);
    });
}

std::size_t HeldFiles::write(std::uint64_t to, const void* from, std::size_t length) noexcept {
    return move(to, length, [&](std::byte* place, std::size_t done, std::size_t here) {
        return model::safe_copy(place, static_cast<const std::byte*>(from) + done, here);
    });
}

}  // namespace iommufd::inline v0_1::intercept
