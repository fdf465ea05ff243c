// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From addresses of this process to IOVAs. Memory may be mapped more than once: what a page's first leaf has no room for is
// in the next layer, and so on. Where nothing is mapped twice there is one layer.
//
//     layer 0   [..........leaf: iova a..........]
//     layer 1            [leaf: iova b]
//     ...
//     crowd     an ordered list of the rest: pages that are mapped at more IOVAs than there are layers
//
// Only find() of such a page looks at the crowd, under a lock: else a page that is mapped everywhere (a scratch page) would
// take a layer for each time.
//
// As PageMap, whose rules of changing hold here too.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "dma/page_map.hpp"

namespace iommufd::inline v0_1::dma {

class ReverseMap {
public:
    explicit ReverseMap(TablePool& pool) noexcept
        : layers_{PageMap(pool), PageMap(pool), PageMap(pool), PageMap(pool)} {}
    ReverseMap(const ReverseMap&) = delete;
    ReverseMap& operator=(const ReverseMap&) = delete;

    // [address, address + length) leads to `iova` and on. Throws bad_alloc, and then nothing has changed.
    void insert(std::uint64_t address, Range iovas);
    void show(std::uint64_t address, Range iovas, bool shown) noexcept;
    void cut(std::uint64_t address, Iova iova);
    void erase(std::uint64_t address, Range iovas) noexcept;

    // Every IOVA of the bytes from first to last, appended.
    void find(std::uint64_t first, std::uint64_t last, std::vector<Iova>& iovas) const;

    // One of them.
    std::optional<Iova> find_one(std::uint64_t first, std::uint64_t last) const noexcept;

    // The layer in which most is found.
    const PageRadix& first() const noexcept { return layers_[0]; }

    PageRadix::Table* take_unlinked() noexcept;

private:
    // Of the crowd, by first IOVA.
    struct Member {
        Iova last;
        std::uint64_t address;  // of the first
        bool shown;
    };

    void insert_into(unsigned layer, std::uint64_t first, std::uint64_t last, std::uint64_t difference);
    std::optional<Iova> find_in(const PageMap& layer, std::uint64_t first, std::uint64_t last) const noexcept;
    void find_in_crowd(std::uint64_t first, std::uint64_t last, std::vector<Iova>& iovas) const;
    template <class Change>
    bool each_inserted(std::uint64_t address, Range iovas, Change&& change) noexcept;
    bool leads(std::uint64_t first, std::uint64_t last, std::uint64_t difference) const noexcept;
    bool leads_in_crowd(std::uint64_t address, std::uint64_t difference, std::uint64_t& end) const noexcept;

    static constexpr unsigned kLayers = 4;

    PageMap layers_[kLayers];
    // How many were ever used: no others need to be looked at.
    std::atomic<unsigned> used_ = 1;
    mutable sys::Mutex mutex_;
    std::map<Iova, Member> crowd_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::dma
