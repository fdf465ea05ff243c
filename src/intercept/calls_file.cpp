// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Calls on descriptors of the model. Any other descriptor is the kernel's.
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

#include "intercept/supervisor.hpp"

namespace iommufd::inline v0_1::intercept {

Answer Supervisor::ioctl(int fd, std::uint64_t request, std::uint64_t argument) {
    const auto found = inside_.files.find(fd);
    if (!found) return Answer::from_kernel();
    return {.value = found.file->ioctl(request & 0xffffffff, argument)};
}

Answer Supervisor::read(int fd, std::uint64_t buffer, std::uint64_t count) {
    const auto found = inside_.files.find(fd);
    if (!found) return Answer::from_kernel();
    return {.value = found.file->read(buffer, count)};
}

Answer Supervisor::write(int fd, std::uint64_t buffer, std::uint64_t count) {
    const auto found = inside_.files.find(fd);
    if (!found) return Answer::from_kernel();
    return {.value = found.file->write(buffer, count)};
}

Answer Supervisor::move_at(const seccomp_data& call, bool write) {
    const auto found = inside_.files.find(static_cast<int>(call.args[0]));
    if (!found) return Answer::from_kernel();
    const auto [fd, buffer, count, position, unused, more] = call.args;
    return {.value = write ? found.file->pwrite(buffer, count, position)
                           : found.file->pread(buffer, count, position)};
}

Answer Supervisor::move_pieces_at(Tracee& tracee, const seccomp_data& call, bool write) {
    const auto found = inside_.files.find(static_cast<int>(call.args[0]));
    if (!found) return Answer::from_kernel();
    const auto [fd, pieces, count, position, unused, flags] = call.args;
    if (count > IOV_MAX) return {.value = -EINVAL};
    std::vector<iovec> all(count);
    if (tracee.copy_from(all.data(), pieces, count * sizeof(iovec)) < 0) return {.value = -EFAULT};
    std::int64_t done = 0;
    for (const iovec& piece : all) {
        const auto buffer = reinterpret_cast<std::uint64_t>(piece.iov_base);
        const auto at = position + static_cast<std::uint64_t>(done);
        const ssize_t moved = write ? found.file->pwrite(buffer, piece.iov_len, at)
                                    : found.file->pread(buffer, piece.iov_len, at);
        if (moved < 0) return {.value = done == 0 ? moved : done};
        done += moved;
        if (static_cast<std::size_t>(moved) < piece.iov_len) break;
    }
    return {.value = done};
}

// The kernel maps the file that the descriptor is, once the model has put there what it shows.
Answer Supervisor::mmap(Tracee& tracee, const seccomp_data& call) {
    const auto [address, length, protection, flags, fd, offset] = call.args;
    if (!inside_.files.find(static_cast<int>(fd))) return Answer::from_kernel();
    if (length == 0 || offset % model::user::kPage != 0) return {.value = -EINVAL};
    const sys::Fd own(sys::host_kernel(), tracee.take(static_cast<int>(fd)));
    struct stat status{};
    if (!own || ::fstat(own.number(), &status) < 0) return {.value = -EBADF};
    // What is in hand now can't become another any more.
    const auto found = inside_.files.find(model::identity_of(status));
    if (!found) return Answer::from_kernel();
    const int rc =
        found.file->show(own.number(), length, static_cast<int>(protection), static_cast<int>(flags), offset);
    return rc < 0 ? Answer{.value = rc} : Answer::from_kernel();
}

}  // namespace iommufd::inline v0_1::intercept
