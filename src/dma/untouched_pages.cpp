// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/untouched_pages.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "dma/prefault.hpp"
#include "error/compose.hpp"
#include "sys/fd.hpp"
#include "sys/kernel.hpp"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

namespace iommufd::inline v0_1::dma {
namespace {

// As cachestat(2) has them; Linux 6.5.
struct CacheRange {
    std::uint64_t offset;
    std::uint64_t length;
};
struct CacheState {
    std::uint64_t cached, dirty, written_back, evicted, recently_evicted;  // pages
};

// A part of the file.
struct Part {
    std::uint64_t first;
    std::uint64_t end;

    std::uint64_t length() const noexcept { return end - first; }
};

class Toucher {
public:
    // `is_whole`: the file has no sparse part.
    Toucher(int fd, std::uint64_t offset, std::span<std::byte> mapping, bool is_whole)
        : fd_(fd),
          offset_(offset),
          mapping_(mapping),
          is_whole_(is_whole),
          page_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) {}

    Result<void> touch_holes() {
        const Part all{.first = offset_, .end = offset_ + mapping_.size()};
        // Opened anew, since who else has the descriptor has its position too.
        const sys::Fd file(sys::host_kernel(),
                           ::open(compose("/proc/self/fd/", fd_).c_str(), O_RDONLY | O_CLOEXEC));
        if (!file) return touch_cached(all);
        for (std::uint64_t at = all.first; at < all.end;) {
            const off_t hole = ::lseek(file.number(), static_cast<off_t>(at), SEEK_HOLE);
            if (hole < 0 || static_cast<std::uint64_t>(hole) >= all.end) return {};
            const off_t data = ::lseek(file.number(), hole, SEEK_DATA);
            const std::uint64_t end =
                data < 0 ? all.end : std::min(static_cast<std::uint64_t>(data), all.end);
            if (auto touched = touch_cached({.first = static_cast<std::uint64_t>(hole), .end = end});
                !touched)
                return touched;
            at = end;
        }
        return {};
    }

private:
    // Nothing: the kernel doesn't tell.
    std::optional<std::uint64_t> cached(Part part) const {
        const CacheRange range{.offset = part.first, .length = part.length()};
        CacheState state{};
        if (::syscall(SYS_cachestat, fd_, &range, &state, 0U) < 0) return std::nullopt;
        return state.cached;
    }

    Result<void> touch_cached(Part part) const {
        const auto pages = is_whole_ ? std::optional(part.length() / page_) : cached(part);
        if (!pages || *pages == 0) return {};
        if (*pages * page_ >= part.length())
            return prefault(mapping_.subspan(part.first - offset_, part.length()), page_, false, 1);
        const std::uint64_t middle = part.first + part.length() / page_ / 2 * page_;
        if (auto touched = touch_cached({.first = part.first, .end = middle}); !touched) return touched;
        return touch_cached({.first = middle, .end = part.end});
    }

    const int fd_;
    const std::uint64_t offset_;
    const std::span<std::byte> mapping_;
    const bool is_whole_;
    const std::uint64_t page_;
};

}  // namespace

Result<void> touch_allocated_pages(int fd, std::uint64_t offset, std::span<std::byte> mapping) {
    struct statfs system{};
    struct stat status{};
    if (::fstatfs(fd, &system) < 0 || system.f_type != TMPFS_MAGIC || ::fstat(fd, &status) < 0 ||
        status.st_blocks == 0)
        return {};
    constexpr std::int64_t kBlock = 512;
    return Toucher(fd, offset, mapping, status.st_blocks >= status.st_size / kBlock).touch_holes();
}

}  // namespace iommufd::inline v0_1::dma
