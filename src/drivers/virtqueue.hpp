// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A split virtqueue, as a driver sees it (virtio 1.x, section 2.7):
//
//     descriptors   size x {addr, len, flags, next}    buffers by IOVA, chained into requests
//     available     flags, idx, size x head            written here: heads of chains that the device may take
//     used          flags, idx, size x {head, len}     written by the device: chains that it is done with
//
// Both indices only grow, modulo 2^16. Each side writes its entry first and its index after it (release),
// and reads the other's index before the entry (acquire): that order is all the synchronization there is.
//
// The device is not trusted: a head that it can't have is an error, and what it wrote of lengths is cut.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "drivers/window.hpp"
#include "iommufd/vdpa/vring.hpp"
#include "uapi/virtio.hpp"

namespace iommufd::inline v0_1::drivers {

// A buffer of a request.
struct Segment {
    Iova iova;
    std::uint32_t length;  // in bytes
    bool device_writes;    // all that the device reads comes before the first that it writes
};

// A request that the device is done with.
struct Used {
    std::uint16_t head;
    std::uint32_t written;  // bytes that the device wrote
};

class Virtqueue {
public:
    // Of the window, for a queue of so many entries.
    static std::uint64_t bytes_needed(std::uint16_t entries) noexcept;

    // `entries` is a power of two; the window is aligned to 16 bytes and holds bytes_needed(). It must
    // outlive the queue.
    Virtqueue(Window window, std::uint16_t entries);

    std::uint16_t size() const noexcept { return entries_; }
    vdpa::RingAddresses addresses() const noexcept;

    // Offers a request to the device; afterwards it wants to be told (kick). Returns the head. ENOSPC: the
    // queue is full, or the chain is longer than it.
    Result<std::uint16_t> offer(std::span<const Segment> segments);
    // Takes the next request that the device is done with, if there is one. EIO: the device broke the ring.
    Result<std::optional<Used>> take();

private:
    std::byte* at(std::uint64_t offset) const noexcept { return window_.memory + offset; }

    const Window window_;
    const std::uint16_t entries_;
    std::uint16_t available_idx_ = 0;  // of the next entry that we write
    std::uint16_t used_idx_ = 0;       // of the next entry that we read
    // Kept here, since the device might change what is in its memory: the chains of requests and of free
    // descriptors, and by head the length of a request that the device has (0: it has none).
    std::vector<std::uint16_t> next_;
    std::vector<std::uint16_t> length_;
    std::uint16_t first_free_ = 0;
    std::uint16_t free_;
};

}  // namespace iommufd::inline v0_1::drivers
