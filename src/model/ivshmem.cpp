// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/ivshmem.hpp"

#include <utility>

namespace iommufd::inline v0_1::model {
namespace {

enum Register : std::uint64_t { kMask = 0x00, kStatus = 0x04 };

constexpr std::uint64_t kLast = 0xfc;  // of the registers, by which a write is told

}  // namespace

// QEMU's memory core asks for four bytes from where the access starts, and gives of them what was asked for.
std::uint64_t Ivshmem::read(std::uint64_t offset, unsigned width) {
    if (width == 8) {
        const std::uint64_t low = read(offset, 4);
        return low | read(offset + 4, 4) << 32;
    }
    const std::uint64_t whole = offset == kMask ? mask_ : offset == kStatus ? std::exchange(status_, 0) : 0;
    return whole & ((std::uint64_t{1} << (8 * width)) - 1);
}

void Ivshmem::write(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if (width == 8) {
        write(offset, 4, value);
        return write(offset + 4, 4, value >> 32);
    }
    switch (offset & kLast) {
        case kMask:
            mask_ = static_cast<std::uint32_t>(value);
            break;
        case kStatus:
            status_ = static_cast<std::uint32_t>(value);
            break;
        default:
            break;
    }
}

}  // namespace iommufd::inline v0_1::model
