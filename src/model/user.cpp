// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/user.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace iommufd::inline v0_1::model::user {
namespace {

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
    return caller().copy_from(to, from, length);
}

int copy_to(Address to, const void* from, std::size_t length) noexcept {
    return caller().copy_to(to, from, length);
}

int copy_struct_from(void* to, std::size_t known, Address from, std::size_t given) noexcept {
    if (given < known) {
        std::memset(static_cast<std::byte*>(to) + given, 0, known - given);
    } else if (const int rc = check_zero(from + known, given - known); rc < 0) {
        return rc;
    }
    return copy_from(to, from, std::min(known, given));
}

std::vector<MappedPiece> pieces_from(Address from) {
    std::vector<MappedPiece> pieces = caller().mapped();
    std::erase_if(pieces, [&](const MappedPiece& piece) { return piece.last < from; });
    return pieces;
}

}  // namespace iommufd::inline v0_1::model::user
