// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The tables of PageMaps: in slabs that grow to huge pages, since a walk through many small pages spends its time in TLB
// misses. A table that comes back is empty, and goes out again as it is; slabs go with the pool.
//
// Threads: any.
#pragma once

#include <memory>
#include <new>
#include <vector>

#include "iommufd/dma/page_radix.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::dma {

class TablePool {
public:
    using Table = PageRadix::Table;

    TablePool() = default;
    TablePool(const TablePool&) = delete;
    TablePool& operator=(const TablePool&) = delete;

    // An empty one. Throws bad_alloc.
    Table* take();
    // A chain by `next` of empty ones.
    void give_back(Table* chain) noexcept;
    // How many are out.
    std::size_t out() const noexcept;
    // An empty one, the pool's until it goes. Throws bad_alloc.
    PageRadix::Root* take_root();

private:
    struct Release {
        std::align_val_t alignment;
        void operator()(std::byte* slab) const noexcept { ::operator delete(slab, alignment); }
    };

    struct Unmap {
        void operator()(PageRadix::Root* root) const noexcept;
    };

    void add_slab() IOMMUFD_REQUIRES(mutex_);

    mutable sys::Mutex mutex_;
    std::vector<std::unique_ptr<std::byte, Release>> slabs_ IOMMUFD_GUARDED_BY(mutex_);
    std::vector<std::unique_ptr<PageRadix::Root, Unmap>> roots_ IOMMUFD_GUARDED_BY(mutex_);
    Table* free_ IOMMUFD_GUARDED_BY(mutex_) = nullptr;
    // Of the newest slab, what was never used.
    std::byte* rest_ IOMMUFD_GUARDED_BY(mutex_) = nullptr;
    std::size_t tables_left_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::size_t out_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::size_t next_count_ IOMMUFD_GUARDED_BY(mutex_) = 8;
};

}  // namespace iommufd::inline v0_1::dma
