// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/held_files.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string>

namespace iommufd::inline v0_1::intercept {
namespace {

// Each may be a descriptor of this process, which has need of others.
constexpr std::size_t kMost = 256;

}  // namespace

std::shared_ptr<sys::Fd> HeldFiles::open(const model::MappedPiece& piece) {
    std::array<char, 64> name{};
    (void)std::snprintf(name.data(), name.size(), "map_files/%lx-%lx",
                        static_cast<unsigned long>(piece.first), static_cast<unsigned long>(piece.last + 1));
    // What it is, before it is opened: opening a device may do something.
    const sys::Fd place(sys::host_kernel(), ::openat(process_.number(), name.data(), O_PATH | O_CLOEXEC));
    if (!place) {
        forbidden_ = errno == EPERM || errno == EACCES;
        return nullptr;
    }
    struct statfs system{};
    struct stat found{};
    if (::fstatfs(place.number(), &system) < 0 || ::fstat(place.number(), &found) < 0) return nullptr;
    const bool is_it =
        model::identity_of(found) == model::FileIdentity{.container = piece.container, .inode = piece.inode};
    if (system.f_type != TMPFS_MAGIC || !S_ISREG(found.st_mode) || !is_it) return nullptr;
    const std::string path = "/proc/self/fd/" + std::to_string(place.number());
    sys::Fd file(sys::host_kernel(), ::open(path.c_str(), O_RDWR | O_CLOEXEC));
    return file ? std::make_shared<sys::Fd>(std::move(file)) : nullptr;
}

std::shared_ptr<sys::Fd> HeldFiles::file_of(const model::MappedPiece& piece) {
    const model::FileIdentity identity{.container = piece.container, .inode = piece.inode};
    for (const auto& [last, held] : held_)
        if (held.identity == identity) return held.file;
    return forbidden_ || held_.size() >= kMost ? nullptr : open(piece);
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
        if (auto file = file_of(piece))
            found.emplace(std::min(last, piece.last),
                          Held{.first = from,
                               .offset = piece.offset + (from - piece.first),
                               .identity = {.container = piece.container, .inode = piece.inode},
                               .file = std::move(file)});
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
        const auto offset = static_cast<off_t>(piece->second.offset + (place - piece->second.first));
        const ssize_t moved = move(piece->second.file->number(), done, here, offset);
        if (moved <= 0) break;
        done += static_cast<std::size_t>(moved);
    }
    return done;
}

std::size_t HeldFiles::read(void* to, std::uint64_t from, std::size_t length) noexcept {
    return move(from, length, [&](int file, std::size_t done, std::size_t here, off_t offset) {
        return ::pread(file, static_cast<std::byte*>(to) + done, here, offset);
    });
}

std::size_t HeldFiles::write(std::uint64_t to, const void* from, std::size_t length) noexcept {
    return move(to, length, [&](int file, std::size_t done, std::size_t here, off_t offset) {
        return ::pwrite(file, static_cast<const std::byte*>(from) + done, here, offset);
    });
}

}  // namespace iommufd::inline v0_1::intercept
