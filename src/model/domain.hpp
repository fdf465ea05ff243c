// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An I/O page table: what devices attached to one hwpt can reach. A radix tree of 512 entries a level,
// whose leaves are 4 KiB, 2 MiB or 1 GiB where address and IOVA are aligned alike.
//
// A DMA holds the domain's mutex from the first look-up to the last byte, so that memory is not touched
// any more once unmap() has returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

inline constexpr unsigned kReadable = 1;  // by the device
inline constexpr unsigned kWritable = 2;

// A part of a DMA that reached nothing.
using OnBlocked = std::function<void(std::uint64_t iova, std::uint64_t length)>;

class Domain {
public:
    // Translates IOVAs from 0 to `last`.
    explicit Domain(std::uint64_t last);
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;
    ~Domain();

    std::uint64_t last() const noexcept { return last_; }

    // Pages that aren't mapped yet, to memory that stays until they are unmapped: 0 or -ENOMEM.
    int map(std::uint64_t iova, std::uint64_t length, user::Address memory, unsigned permissions,
            bool large_pages) IOMMUFD_EXCLUDES(mutex_);
    // A whole range that was mapped.
    void unmap(std::uint64_t iova, std::uint64_t length) noexcept IOMMUFD_EXCLUDES(mutex_);

    // The device reads: what it can't reach reads as zero.
    void read(std::uint64_t iova, std::span<std::byte> to, const OnBlocked& blocked) const
        IOMMUFD_EXCLUDES(mutex_);
    // The device writes: what it can't reach is left alone.
    void write(std::uint64_t iova, std::span<const std::byte> from, const OnBlocked& blocked) const
        IOMMUFD_EXCLUDES(mutex_);

private:
    struct Table;
    struct Run {  // contiguous on both sides
        user::Address memory;
        std::uint64_t length;
        bool reachable;
    };

    void map_level(Table& table, int level, std::uint64_t iova, std::uint64_t last, user::Address memory,
                   std::uint64_t flags, bool large_pages) IOMMUFD_REQUIRES(mutex_);
    static void unmap_level(Table& table, int level, std::uint64_t iova, std::uint64_t last) noexcept;
    Run look_up(std::uint64_t iova, unsigned permission) const IOMMUFD_REQUIRES(mutex_);
    Run run(std::uint64_t iova, std::uint64_t most, unsigned permission) const IOMMUFD_REQUIRES(mutex_);

    const std::uint64_t last_;
    const int root_level_;
    mutable sys::Mutex mutex_;
    std::unique_ptr<Table> root_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
