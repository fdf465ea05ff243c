// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The messages that change which memory a vhost-vdpa device reaches: one write() each.
//
//     UPDATE      maps; the whole message or nothing of it
//     INVALIDATE  unmaps every mapping that overlaps the range, as a whole
//     BATCH       between its begin and end the device isn't told of changes; at the end, of all of them
//
// Whatever the handler found wrong, write() says EFAULT.
#pragma once

#include <cstdint>

#include "iommufd/dma/sink.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::vdpa {

// One address space of a device. The descriptor is borrowed.
class Iotlb {
public:
    Iotlb(sys::Kernel& kernel, int fd, std::uint32_t asid) noexcept
        : kernel_(&kernel), fd_(fd), asid_(asid) {}

    std::uint32_t asid() const noexcept { return asid_; }

    // All return 0 or a negative errno.
    int update(const dma::Piece& piece) const noexcept;
    int invalidate(Range range) const noexcept;
    // Fails in an address space that no UPDATE or batch has named before.
    int invalidate_all() const noexcept;
    int begin_batch() const noexcept;
    int end_batch() const noexcept;

private:
    int send(std::uint8_t type, std::uint64_t iova, std::uint64_t size, std::uint64_t address,
             std::uint8_t permissions) const noexcept;

    sys::Kernel* kernel_;
    int fd_;
    std::uint32_t asid_;
};

// How a device takes memory. Empties the address space; `iova` is any that the device can be given. EPERM:
// this process is not the owner.
struct Probed {
    int error = 0;                // negative errno
    bool uses_addresses = false;  // of this process; else it pins pages
};
Probed probe(sys::Kernel& kernel, const Iotlb& iotlb, Iova iova, std::uint64_t page_size) noexcept;

}  // namespace iommufd::inline v0_1::vdpa
