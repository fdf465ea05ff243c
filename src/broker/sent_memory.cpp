// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/sent_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "object/words.hpp"
#include "sys/fd.hpp"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace iommufd::inline v0_1::broker {
namespace {

constexpr std::uint64_t kBlock = 512;  // of st_blocks

// It may be written by devices: whoever else was promised by a seal that it doesn't change isn't lied to.
Result<void> check_writable(int flags, int seals) {
    if ((flags & O_ACCMODE) != O_RDWR)
        return cannot_map(
            EACCES, "its descriptor was opened for reading only",
            "send one that is open for reading and writing, or ask for a mapping that devices only read");
    if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0)
        return cannot_map(EPERM, "it is sealed against writing (F_SEAL_WRITE, F_SEAL_FUTURE_WRITE)",
                          "send another one, or ask for a mapping that devices only read");
    return {};
}

}  // namespace

Error cannot_map(int code, std::string cause, std::string next) {
    return Error::refused(code, "cannot map the client's memory", std::move(cause), std::move(next));
}

bool is_memory(int fd) noexcept { return ::fcntl(fd, F_GET_SEALS) >= 0; }

Result<std::uint64_t> check_memory(int fd, const Part& part) {
    const int seals = ::fcntl(fd, F_GET_SEALS);
    const int flags = ::fcntl(fd, F_GETFL);
    struct stat status{};
    if (seals < 0 || flags < 0 || ::fstat(fd, &status) < 0)
        return cannot_map(EBADF, "what was sent is no memfd", "send the descriptor of one (memfd_create)");
    if ((flags & O_ACCMODE) == O_WRONLY)
        return cannot_map(EBADF, "its descriptor was opened for writing only", "send one that can be read");
    constexpr int kSize = F_SEAL_SHRINK | F_SEAL_GROW;
    if ((seals & kSize) != kSize)
        return cannot_map(EPERM, "its size isn't sealed",
                          "seal it with F_SEAL_SHRINK and F_SEAL_GROW (memfd_create with MFD_ALLOW_SEALING)");
    if (part.write)
        if (auto writable = check_writable(flags, seals); !writable) return writable.error();
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    if (part.length == 0 || part.offset % page != 0 || part.length % page != 0)
        return cannot_map(EINVAL, "offset and length must be whole pages, and at least one", "round them");
    if (part.offset > size || part.length > size - part.offset)
        return cannot_map(EINVAL, compose("it has ", size_text(size), ", and the part lies beyond"),
                          "ask for what is there");
    // Also of huge pages, of which SEEK_HOLE knows nothing.
    if (static_cast<std::uint64_t>(status.st_blocks) < size / kBlock)
        return cannot_map(ENODATA,
                          compose("it is sparse: of ", size_text(size), " there are ",
                                  size_text(static_cast<std::uint64_t>(status.st_blocks) * kBlock)),
                          "write to each of its pages first");
    const std::uint64_t whole = std::max(page, static_cast<std::uint64_t>(status.st_blksize));
    const std::uint64_t first = part.offset / whole * whole;
    const std::uint64_t end = (part.offset + part.length + whole - 1) / whole * whole;
    return end - first;
}

Result<void> check_touched(int fd, const Part& part) {
    // Opened anew, so that the client's own position stays where it is.
    const sys::Fd file(sys::host_kernel(),
                       ::open(compose("/proc/self/fd/", fd).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file)
        return cannot_map(errno, "it can't be opened once more, for looking", "let others read it (fchmod)");
    const off_t hole = ::lseek(file.number(), static_cast<off_t>(part.offset), SEEK_HOLE);
    if (hole >= 0 && static_cast<std::uint64_t>(hole) >= part.offset + part.length) return {};
    return cannot_map(
        ENODATA, compose("its page at ", hole, " has never been touched, and would be cleared when it is"),
        "write to each page first; posix_fallocate alone doesn't");
}

}  // namespace iommufd::inline v0_1::broker
