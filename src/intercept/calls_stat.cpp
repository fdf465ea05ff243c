// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What files of the model are: of a path, or of a descriptor, which is a device node to the program.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <climits>

#include "intercept/supervisor.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr dev_t kContainer = 0xfff00;  // of the file system that it isn't in
constexpr blksize_t kBlock = 4096;

struct ::stat stat_of(const sys::FileStatus& status) {
    struct ::stat found{};
    found.st_dev = kContainer;
    found.st_ino = status.inode;
    found.st_nlink = 1;
    found.st_mode = status.mode;
    found.st_rdev = status.device;
    found.st_size = static_cast<off_t>(status.size);
    found.st_blksize = kBlock;
    return found;
}

struct ::statx statx_of(const sys::FileStatus& status) {
    struct ::statx found{};
    found.stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO | STATX_SIZE;
    found.stx_blksize = kBlock;
    found.stx_nlink = 1;
    found.stx_mode = static_cast<std::uint16_t>(status.mode);
    found.stx_ino = status.inode;
    found.stx_size = status.size;
    found.stx_rdev_major = ::gnu_dev_major(status.device);
    found.stx_rdev_minor = ::gnu_dev_minor(status.device);
    found.stx_dev_major = ::gnu_dev_major(kContainer);
    found.stx_dev_minor = ::gnu_dev_minor(kContainer);
    return found;
}

}  // namespace

bool Supervisor::status_of(Tracee& tracee, int folder, std::uint64_t address, int flags, int& rc,
                           sys::FileStatus& status) {
    rc = 0;
    std::string text;
    // No path at all (Linux 6.11) counts as an empty one.
    if (address != 0 && tracee.copy_text(text, address, PATH_MAX) < 0) return false;
    std::string path;
    if (!text.empty()) {
        path = paths_.find(tracee, folder, text);
    } else if ((flags & AT_EMPTY_PATH) != 0 && folder >= 0) {
        model::FileIdentity identity{};
        if (tracee.identify(folder, identity)) {
            if (const auto found = inside_.files.find(identity)) {
                status = {.mode = S_IFCHR | 0600,
                          .device = found.device,
                          .container = kContainer,
                          .inode = identity.inode,
                          .size = 0};
                return true;
            }
            if (identity.container != files_.container()) return false;
        }
        path = paths_.of_descriptor(tracee, folder);
    }
    if (path.empty()) return false;
    const bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0 && !text.empty();
    const model::Tree::Entry* entry = nullptr;
    rc = inside_.tree.find(path, follow, entry);
    if (rc < 0) return true;
    status = {.mode = entry->mode,
              .device = entry->device,
              .container = kContainer,
              .inode = entry->inode,
              .size = S_ISREG(entry->mode)   ? kBlock
                      : S_ISLNK(entry->mode) ? entry->text.size()
                                             : 0};
    return true;
}

Answer Supervisor::stat(Tracee& tracee, int folder, std::uint64_t path, std::uint64_t buffer, int flags) {
    int rc = 0;
    sys::FileStatus status{};
    if (!status_of(tracee, folder, path, flags, rc, status)) return Answer::from_kernel();
    return {.value = rc < 0 ? rc : model::user::put(buffer, stat_of(status))};
}

Answer Supervisor::fstat(Tracee& tracee, int fd, std::uint64_t buffer) {
    return stat(tracee, fd, 0, buffer, AT_EMPTY_PATH);
}

Answer Supervisor::statx(Tracee& tracee, int folder, std::uint64_t path, int flags, std::uint64_t buffer) {
    int rc = 0;
    sys::FileStatus status{};
    if (!status_of(tracee, folder, path, flags, rc, status)) return Answer::from_kernel();
    return {.value = rc < 0 ? rc : model::user::put(buffer, statx_of(status))};
}

}  // namespace iommufd::inline v0_1::intercept
