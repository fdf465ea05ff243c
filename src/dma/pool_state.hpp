// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is behind a Pool: its memory, the bits of its pages, and the pages that are cut into slots.
//
//     page: free --claim--> somebody's buffer
//                '-claim--> cut into slots of one size: a word says which are taken, and of what size they are
//                            --closed when all are free, in one step with that word--> free
//
// A bit for each page and size says where there may be a free slot. It may say so wrongly; who has wrongly taken it back, looks
// again and sets it.
//
// Threads: any.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>

#include "dma/page_bits.hpp"
#include "iommufd/dma/pool.hpp"

namespace iommufd::inline v0_1::dma {

class PoolState {
public:
    static constexpr std::uint64_t kPage = 4096;
    static constexpr std::uint64_t kLargestSlot = 2048;

    // Throws bad_alloc.
    explicit PoolState(Memory memory, Mapping mapping);

    const Memory& memory() const noexcept { return memory_; }
    Range range() const noexcept { return mapping_.range(); }
    std::uint64_t to_iova() const noexcept { return to_iova_; }

    struct Place {
        std::byte* data;
        std::uint64_t capacity;
    };
    std::optional<Place> alloc(std::uint64_t size, std::uint64_t alignment) noexcept;
    void free(Place place) noexcept;

private:
    static constexpr unsigned kSizes = 6;  // of slots: 64 bytes to 2 KiB
    static constexpr unsigned kShards = 16;
    static constexpr std::uint64_t kNoPage = ~std::uint64_t{0};

    // The page that a thread's last slot of each size came from: so that threads don't meet.
    struct alignas(64) Shard {
        std::array<std::atomic<std::uint64_t>, kSizes> pages;
    };

    Shard& shard() noexcept;
    std::byte* address(std::uint64_t page) const noexcept;
    std::optional<std::uint64_t> claim_pages(std::uint64_t count, std::uint64_t alignment) noexcept;
    std::byte* alloc_slot(unsigned size) noexcept;
    std::byte* take_slot(std::uint64_t page, unsigned size) noexcept;
    std::byte* search_slot(std::uint64_t from, unsigned size, std::atomic<std::uint64_t>& current) noexcept;
    void set_open(std::uint64_t page, unsigned size) noexcept;
    void clear_open(std::uint64_t page, unsigned size) noexcept;
    bool close(std::uint64_t page, unsigned size) noexcept;
    bool trim() noexcept;

    const Memory memory_;
    const Mapping mapping_;
    const std::uint64_t to_iova_;
    const std::uint64_t
        origin_;  // the number of the IOVA page that is page 0 here: a multiple of PageBits::kWord
    PageBits pages_;
    std::unique_ptr<std::atomic<std::uint64_t>[]> slots_;  // a word for each page
    std::unique_ptr<std::atomic<std::uint64_t>[]> open_[kSizes];
    std::array<std::atomic<std::int64_t>, kSizes> open_count_{};  // of the bits set
    std::array<Shard, kShards> shards_;
};

}  // namespace iommufd::inline v0_1::dma
