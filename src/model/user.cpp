// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/user.hpp"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace iommufd::inline v0_1::model::user {
namespace {

using Transfer = ssize_t (*)(pid_t, const iovec*, unsigned long, const iovec*, unsigned long, unsigned long);

// The kernel checks the addresses of both sides. It moves less than asked where a page is missing, and
// at most 2 GiB in one call.
int move(Transfer transfer, void* here, Address there, std::size_t length) noexcept {
    auto* position = static_cast<std::byte*>(here);
    while (length > 0) {
        const iovec local{position, length};
        const iovec remote{reinterpret_cast<void*>(there), length};
        const ssize_t moved = transfer(::getpid(), &local, 1, &remote, 1, 0);
        if (moved <= 0) return -EFAULT;
        position += moved;
        there += static_cast<Address>(moved);
        length -= static_cast<std::size_t>(moved);
    }
    return 0;
}

int check_zero(Address from, std::size_t length) noexcept {
    std::byte chunk[512];
    while (length > 0) {
        const std::size_t now = std::min(length, sizeof chunk);
        if (copy_from(chunk, from, now) < 0) return -EFAULT;
        if (std::any_of(chunk, chunk + now, [](std::byte b) { return b != std::byte{0}; })) return -E2BIG;
        from += now;
        length -= now;
    }
    return 0;
}

}  // namespace

int copy_from(void* to, Address from, std::size_t length) noexcept {
    return move(::process_vm_readv, to, from, length);
}

int copy_to(Address to, const void* from, std::size_t length) noexcept {
    return move(::process_vm_writev, const_cast<void*>(from), to, length);
}

int copy_struct_from(void* to, std::size_t known, Address from, std::size_t given) noexcept {
    if (given < known) {
        std::memset(static_cast<std::byte*>(to) + given, 0, known - given);
    } else if (const int rc = check_zero(from + known, given - known); rc < 0) {
        return rc;
    }
    return copy_from(to, from, std::min(known, given));
}

int populate(Address from, std::uint64_t length, bool write) noexcept {
    const Address first = from / kPage * kPage;
    const std::uint64_t whole = (from + length - first + kPage - 1) / kPage * kPage;
    const int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    while (::madvise(reinterpret_cast<void*>(first), whole, advice) < 0)
        if (errno != EINTR && errno != EAGAIN) return -EFAULT;
    return 0;
}

std::vector<Piece> pieces_from(Address from) {
    const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), std::fclose);
    std::vector<Piece> pieces;
    char line[512];
    bool at_start = true;
    while (maps && std::fgets(line, sizeof line, maps.get()) != nullptr) {
        unsigned long first = 0;
        unsigned long end = 0;
        char mode[5] = {};
        if (at_start && std::sscanf(line, "%lx-%lx %4s", &first, &end, mode) == 3 && end > from)
            pieces.push_back({.first = first, .last = end - 1, .shared = mode[3] == 's'});
        at_start = std::strchr(line, '\n') != nullptr;
    }
    return pieces;
}

}  // namespace iommufd::inline v0_1::model::user
