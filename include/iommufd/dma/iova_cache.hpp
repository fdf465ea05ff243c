// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Small IOVA ranges for those who need them by the million: one cache for each thread, in front of the Space's own allocator.
//
//     auto cache = space.iova_cache().value();                       one per thread
//     const auto range = cache.alloc(4_KiB);                         nothing: there is no room
//     space.map(memory, {.iova = range->first, .length = 4_KiB, .within = cache});
//     ...                                                            unmap it, then
//     cache.free(*range);                                            to this cache, or another one of the space
//
//     IovaCache --64 at a time--> what all caches of the space share --> the space's free IOVAs
//
// Lengths up to 32 pages become a power of two, and lie at a multiple of it. A cache keeps up to 128 ranges of each size, and
// takes no lock that others wait for but every 64th time. Longer ones come from the space each time.
//
// A handle and not a thread_local: so it ends before the thread does or after it, at a place that you see, and there may be
// several spaces. What a cache holds without anybody using it goes back to the space when the cache goes, when a device attaches or
// leaves (the ranges may lie elsewhere then), when the space has no other room left, and when somebody maps or reserves that very
// range. What alloc() gave out stays yours through all of that, until it is freed; a cache that goes doesn't free it.
//
// Threads: any calls may run at once; only a cache of one's own is fast.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "iommufd/core/types.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

class SpaceState;
struct IovaCacheSlot;

class IOMMUFD_EXPORT IovaCache {
public:
    IovaCache(IovaCache&&) noexcept;
    IovaCache& operator=(IovaCache&&) noexcept;
    ~IovaCache();

    // At least `length` bytes that every sink and device reaches: all of what is returned is the caller's. Nothing: there is no
    // such range, or no memory to remember it.
    std::optional<Range> alloc(std::uint64_t length) noexcept;
    // A range that alloc() of a cache of this space returned, all of it, in which nothing is mapped any more.
    void free(Range range) noexcept;

private:
    friend class Space;
    friend class Within;
    IovaCache(std::shared_ptr<SpaceState> state, IovaCacheSlot* slot) noexcept;
    std::shared_ptr<SpaceState> state_;
    IovaCacheSlot* slot_;
};

}  // namespace iommufd::inline v0_1::dma
