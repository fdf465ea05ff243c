// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vdpa/iotlb.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::vdpa {
namespace {

// The largest size that a message can name. With IOVA 0 it overlaps every mapping but one of the last byte.
constexpr std::uint64_t kEverything = ~std::uint64_t{0};

static_assert(static_cast<std::uint8_t>(Access::read) == uapi::vhost::kAccessRo);
static_assert(static_cast<std::uint8_t>(Access::write) == uapi::vhost::kAccessWo);
static_assert(static_cast<std::uint8_t>(Access::read_write) == uapi::vhost::kAccessRw);

}  // namespace

int Iotlb::send(std::uint8_t type, std::uint64_t iova, std::uint64_t size, std::uint64_t address,
                std::uint8_t permissions) const noexcept {
    uapi::vhost::MsgV2 message{};
    message.type = uapi::vhost::kMsgIotlbV2;
    message.asid = asid_;
    message.iotlb = {.iova = iova, .size = size, .uaddr = address, .perm = permissions, .type = type};
    const ssize_t result = kernel_->write(fd_, &message, sizeof message);
    return result < 0 ? static_cast<int>(result) : 0;
}

int Iotlb::update(const dma::Piece& piece) const noexcept {
    return send(uapi::vhost::kIotlbUpdate, piece.iova.value, piece.length,
                reinterpret_cast<std::uintptr_t>(piece.address), static_cast<std::uint8_t>(piece.access));
}

int Iotlb::invalidate(Range range) const noexcept {
    const std::uint64_t length = range.length();
    return send(uapi::vhost::kIotlbInvalidate, range.first.value, length == 0 ? kEverything : length, 0, 0);
}

int Iotlb::invalidate_all() const noexcept {
    return send(uapi::vhost::kIotlbInvalidate, 0, kEverything, 0, 0);
}

int Iotlb::begin_batch() const noexcept { return send(uapi::vhost::kIotlbBatchBegin, 0, 0, 0, 0); }

int Iotlb::end_batch() const noexcept { return send(uapi::vhost::kIotlbBatchEnd, 0, 0, 0, 0); }

Probed probe(sys::Kernel& kernel, const Iotlb& iotlb, Iova iova, std::uint64_t page_size) noexcept {
    // A private page that nobody may touch. A device that pins can't have it; one that uses addresses is
    // told that it has it, since the kernel passes over private memory. So nothing is mapped either way,
    // nothing is charged to RLIMIT_MEMLOCK, and there is nothing to undo.
    void* page = nullptr;
    if (const int result = kernel.mmap(&page, page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        result < 0)
        return {.error = result};
    const dma::Piece piece{.iova = iova, .length = page_size, .address = static_cast<const std::byte*>(page)};

    // The first message makes the address space, whatever comes of it. INVALIDATE then fails for a process
    // that is not the owner only, and takes away what an earlier user of the descriptor had mapped: that
    // might overlap, and be mistaken for a device that pins.
    (void)iotlb.update(piece);
    Probed probed{.error = iotlb.invalidate_all()};
    if (probed.error == 0) {
        const int result = iotlb.update(piece);
        probed.uses_addresses = result == 0;
        if (result < 0 && result != -EFAULT) probed.error = result;
    } else if (probed.error == -EFAULT) {
        probed.error = -EPERM;
    }
    if (const int result = kernel.munmap(page, page_size); result < 0 && probed.error == 0)
        probed.error = result;
    return probed;
}

}  // namespace iommufd::inline v0_1::vdpa
