// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An I/O page table: what devices attached to one hwpt can reach. A radix tree of 512 entries a level. A leaf
// is as large as address, IOVA, length and the IOMMU's page sizes allow; one that is larger than an entry of
// its level takes several of them, and is dirty where any of these is.
//
// A DMA holds the domain's mutex from the first look-up to the last byte, so that memory is not touched
// any more once unmap() has returned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include "model/physical.hpp"
#include "model/user.hpp"
#include "sys/membarrier.hpp"
#include "sys/owned_mutex.hpp"

namespace iommufd::inline v0_1::model {

inline constexpr unsigned kReadable = 1;  // by the device
inline constexpr unsigned kWritable = 2;

// A part of a DMA that reached nothing.
using OnBlocked = std::function<void(std::uint64_t iova, std::uint64_t length)>;
// A leaf that was written to.
using OnDirty = std::function<void(std::uint64_t iova, std::uint64_t length)>;

inline constexpr std::uint64_t kAnyLeaf = std::uint64_t{1} << 63;

// What an IOMMU's page tables can translate, and in what pieces. The default is VT-d's of 48 bits.
struct Geometry {
    std::uint64_t first = 0;
    std::uint64_t last = 0xffffffffffff;
    std::uint64_t page_sizes = 1ULL << 12 | 1ULL << 21 | 1ULL << 30;  // a bit for each size
    unsigned granule_bits = 12;                                       // an entry of the lowest level
    // Whether memory counts as physically contiguous wherever its addresses are. Otherwise a leaf is
    // no larger than a page of the memory.
    bool any_memory_is_contiguous = true;
    // What devices may do with all that is mapped, whether it was asked for or not.
    unsigned implied_permissions = 0;
    bool maps_what_permits_nothing = false;  // only VFIO's ioctl asks for it
    bool refuses_read_only = false;

    std::uint64_t smallest_page() const noexcept { return page_sizes & (~page_sizes + 1); }
    // The smallest that is larger than a page of memory; the largest number where there is none.
    std::uint64_t smallest_large_page() const noexcept {
        const std::uint64_t large = page_sizes & ~(2 * user::kPage - 1);
        return large == 0 ? ~std::uint64_t{0} : large & (~large + 1);
    }
};

class Domain {
public:
    explicit Domain(const Geometry& geometry, bool tracks_dirty = false);
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;
    ~Domain();

    const Geometry& geometry() const noexcept { return geometry_; }
    bool tracks_dirty() const noexcept { return tracks_dirty_; }

    // Pages that aren't mapped yet, to memory that stays until they are unmapped: 0 or -ENOMEM.
    int map(std::uint64_t iova, std::uint64_t length, physical::Address memory, unsigned permissions,
            std::uint64_t largest_leaf) IOMMUFD_EXCLUDES(mutex_);
    // A whole range that was mapped.
    void unmap(std::uint64_t iova, std::uint64_t length) noexcept IOMMUFD_EXCLUDES(mutex_);

    // The device reads: what it can't reach reads as zero.
    void read(std::uint64_t iova, std::span<std::byte> to, const OnBlocked& blocked) const
        IOMMUFD_EXCLUDES(mutex_);
    // The device writes: what it can't reach is left alone.
    void write(std::uint64_t iova, std::span<const std::byte> from, const OnBlocked& blocked)
        IOMMUFD_EXCLUDES(mutex_);
    // As most are: of the thread whose DMA it has nearly always been, all of it in one leaf that was looked up lately, and without
    // dirty bits. False: nothing has been done, or not all.
    bool read_at_once(std::uint64_t iova, std::span<std::byte> to) const IOMMUFD_EXCLUDES(mutex_);
    bool write_at_once(std::uint64_t iova, std::span<const std::byte> from) IOMMUFD_EXCLUDES(mutex_);
    // The device's IOMMU changes eight bytes, aligned, that are what it expects.
    Exchange exchange(std::uint64_t iova, std::uint64_t expected, std::uint64_t desired)
        IOMMUFD_EXCLUDES(mutex_);
    // The first IOVA of a DMA that a device with that permission doesn't reach.
    std::optional<std::uint64_t> first_missing(std::uint64_t iova, std::uint64_t length,
                                               unsigned permission) const IOMMUFD_EXCLUDES(mutex_);
    // Where an IOVA leads, whatever the permissions are.
    std::optional<physical::Address> translate(std::uint64_t iova) const IOMMUFD_EXCLUDES(mutex_);

    // How often something was unmapped: what else was remembered of translations is flushed with that.
    std::uint64_t flushes() const IOMMUFD_EXCLUDES(mutex_);

    // domain_dirty.cpp: works on any domain, whether it was asked for or not.
    bool tracking() const IOMMUFD_EXCLUDES(mutex_);
    void set_tracking(bool on) IOMMUFD_EXCLUDES(mutex_);
    void set_dirty(std::uint64_t iova) IOMMUFD_EXCLUDES(mutex_);
    // Every dirty leaf that the range touches, whole, and clean from now on if `clear`.
    void read_dirty(std::uint64_t iova, std::uint64_t length, bool clear, const OnDirty& found)
        IOMMUFD_EXCLUDES(mutex_);

private:
    static constexpr unsigned kLargeBits = 21;

    struct Table;
    struct Run {  // contiguous on both sides
        physical::Address memory;
        std::uint64_t length;
        bool reachable;
    };

    // A leaf that was looked up lately: forgotten when it is unmapped.
    struct Recent {
        std::uint64_t first = 1, last = 0;
        std::uint64_t entry = 0;

        bool has(std::uint64_t iova, std::uint64_t length) const noexcept {
            return first <= iova && iova <= last && length - 1 <= last - iova;
        }
        physical::Address memory_at(std::uint64_t iova) const noexcept;
    };

    unsigned shift_of(int level) const noexcept;
    std::uint64_t size_of(int level) const noexcept;
    std::uint64_t last_of_entry(std::uint64_t iova, int level) const noexcept;
    std::uint64_t& entry_of(Table& table, std::uint64_t iova, int level) const noexcept;
    // How many entries its table has behind its own.
    std::size_t entries_behind(std::uint64_t iova, int level) const noexcept;

    unsigned best_leaf(std::uint64_t iova, std::uint64_t last, physical::Address memory,
                       std::uint64_t largest) const noexcept;
    std::uint64_t length_of_leaves(unsigned bits, std::uint64_t iova, std::uint64_t last,
                                   physical::Address memory, std::uint64_t largest) const noexcept;
    Table& table_at(std::uint64_t iova, int level) IOMMUFD_REQUIRES(mutex_);
    void map_leaves(std::uint64_t iova, std::uint64_t last, physical::Address memory, std::uint64_t flags,
                    std::uint64_t largest) IOMMUFD_REQUIRES(mutex_);
    void unmap_level(Table& table, int level, std::uint64_t iova, std::uint64_t last) noexcept
        IOMMUFD_REQUIRES(mutex_);
    // Tables that are empty are kept, a few, for the next ones.
    Table* take_table() IOMMUFD_REQUIRES(mutex_);
    void clear(std::uint64_t& entry) noexcept IOMMUFD_REQUIRES(mutex_);
    void dirty_level(Table& table, int level, std::uint64_t iova, std::uint64_t last, bool clear,
                     const OnDirty& found) const;
    void mark_dirty(std::uint64_t iova, std::uint64_t length) IOMMUFD_REQUIRES(mutex_);
    // The entry that translates an IOVA, and its level; null where the IOVA is beyond the table.
    std::uint64_t* leaf_of(std::uint64_t iova, int& level) const IOMMUFD_REQUIRES(mutex_);
    // Where a leaf is remembered that translates it: as an IOTLB has them, large ones apart from small ones.
    Recent& recent_small(std::uint64_t iova) const noexcept IOMMUFD_REQUIRES(mutex_) {
        return recent_small_[(iova >> geometry_.granule_bits) % recent_small_.size()];
    }
    Recent& recent_large(std::uint64_t iova) const noexcept IOMMUFD_REQUIRES(mutex_) {
        return recent_large_[(iova >> kLargeBits) % recent_large_.size()];
    }
    // The one of them that has all of it; null: neither.
    const Recent* recent_of(std::uint64_t iova, std::uint64_t length) const noexcept
        IOMMUFD_REQUIRES(mutex_) {
        if (const Recent& small = recent_small(iova); small.has(iova, length)) return &small;
        const Recent& large = recent_large(iova);
        return large.has(iova, length) ? &large : nullptr;
    }
    void forget(std::uint64_t first, std::uint64_t last) noexcept IOMMUFD_REQUIRES(mutex_);
    Run look_up(std::uint64_t iova, unsigned permission) const IOMMUFD_REQUIRES(mutex_);
    Run run(std::uint64_t iova, std::uint64_t most, unsigned permission) const IOMMUFD_REQUIRES(mutex_);
    // By what is like it behind it, in the table of the IOVA that comes next. False: there it ends.
    bool extend(Run& run, std::uint64_t next, std::uint64_t most, unsigned permission) const
        IOMMUFD_REQUIRES(mutex_);

    const Geometry geometry_;
    const bool tracks_dirty_;
    const int root_level_;
    mutable sys::OwnedMutex mutex_{sys::register_membarrier()};
    std::unique_ptr<Table> root_ IOMMUFD_GUARDED_BY(mutex_);
    mutable std::array<Recent, 16> recent_small_ IOMMUFD_GUARDED_BY(mutex_);
    mutable std::array<Recent, 128> recent_large_ IOMMUFD_GUARDED_BY(mutex_);  // of kLargeBits and more
    Table* spare_ IOMMUFD_GUARDED_BY(mutex_) = nullptr;  // the first one's first entry is the next
    std::size_t spare_count_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    bool tracking_ IOMMUFD_GUARDED_BY(mutex_) = false;
    std::uint64_t flushes_ IOMMUFD_GUARDED_BY(mutex_) = 0;
};

}  // namespace iommufd::inline v0_1::model
