// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A place that a Space's mappings go to: an IOAS of the kernel's, or the IOTLB of a vhost-vdpa device.
// Frontends implement it; a Space calls it.
//
// Threads: the Space may call map() and unmap() of disjoint ranges at once, without a lock held.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "iommufd/core/ioas.hpp"

namespace iommufd::inline v0_1::dma {

// Memory at an IOVA: what one kernel call maps.
struct Piece {
    Iova iova;
    std::uint64_t length;      // in bytes
    const std::byte* address;  // in this process; null: a dma-buf
    int fd = -1;               // the file behind it, or -1
    std::uint64_t fd_offset = 0;
    bool shared = false;  // whether the address and the file are the same pages
    Access access = Access::read_write;
    std::string_view label;  // of the memory, for errors
    // An IOAS that has it mapped already, and where; a sink may use that, and does without where it can't.
    const core::Ioas* pinned_by = nullptr;
    Iova pinned_at{};
};

// What a sink takes.
struct Limits {
    std::vector<Range> ranges;    // IOVAs, ascending
    std::uint64_t alignment = 1;  // of iova, length and address, in bytes
};

class Sink {
public:
    Sink() = default;
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;
    virtual ~Sink() = default;

    // "ioas 3 of 'iommufd0'", "the IOTLB of vhost-vdpa-0".
    virtual std::string describe() const = 0;

    // May change whenever a device attaches or leaves.
    virtual Result<Limits> limits() const = 0;

    // Refuses what the kernel would take and not do, or answer without saying why. Changes nothing.
    virtual Result<void> check(const Piece& piece) const {
        (void)piece;
        return {};
    }

    // Whether it takes dma-bufs.
    virtual bool takes_dma_bufs() const noexcept { return false; }

    // Maps the whole piece, or nothing.
    virtual Result<void> map(const Piece& piece) = 0;
    // Maps many pieces to a sink that takes no part yet, as fast as it can. After an error the sink may have
    // mapped any of them: the Space then unmaps everything.
    virtual Result<void> replay(std::span<const Piece> pieces) {
        for (const Piece& piece : pieces)
            if (auto mapped = map(piece); !mapped) return mapped;
        return {};
    }
    // Unmaps all pieces in the range, which never splits one; returns the bytes, and is called again if those were
    // fewer. ENOENT if there were none. The range may be all 2^64 addresses.
    virtual Result<std::uint64_t> unmap(Range range) = 0;
};

}  // namespace iommufd::inline v0_1::dma
