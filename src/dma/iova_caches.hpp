// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The IovaCaches of a Space, and what they share: the depot.
//
//     a slot for each cache  <--bundles of 64-->  the depot  <--recall()--  the Space
//
// Order of locks: the Space's mutex, a slot, the depot. A slot without limits (since they may have changed) exchanges nothing
// with the depot: so once all slots have been emptied, nobody brings old ranges there, or gets some.
//
// Threads: any; what asks for it needs the Space's mutex.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "iommufd/dma/sink.hpp"
#include "sys/mutex.hpp"
#include "sys/owned_mutex.hpp"

namespace iommufd::inline v0_1::dma {

constexpr unsigned kIovaCacheSizes = 6;  // 1 to 32 pages
constexpr unsigned kIovaBundle = 64;     // ranges that go to or from the depot together

struct alignas(64) IovaCacheSlot {
    struct Stack {
        unsigned count = 0;
        Iova iovas[2 * kIovaBundle];
    };

    explicit IovaCacheSlot(bool has_membarrier) noexcept : mutex(has_membarrier) {}

    sys::OwnedMutex mutex;
    // What a range must lie in to be kept here; null: it goes to the Space, which says.
    std::shared_ptr<const Limits> limits IOMMUFD_GUARDED_BY(mutex);
    Stack stacks[kIovaCacheSizes] IOMMUFD_GUARDED_BY(mutex);
};

class IovaCaches {
public:
    // `page`: the smallest size, in bytes.
    explicit IovaCaches(std::uint64_t page) noexcept;
    IovaCaches(const IovaCaches&) = delete;
    IovaCaches& operator=(const IovaCaches&) = delete;
    ~IovaCaches();

    // Which size ranges of so many bytes are of; kIovaCacheSizes or more: none.
    unsigned size_of(std::uint64_t length) const noexcept;
    std::uint64_t length_of(unsigned size) const noexcept { return page_ << size; }

    // Without the Space's mutex. Nothing, false: it must come from the Space, or go to it.
    std::optional<Range> alloc(IovaCacheSlot& slot, std::uint64_t length) noexcept;
    bool free(IovaCacheSlot& slot, Range range) noexcept;

    // With the Space's mutex held.
    IovaCacheSlot* make();  // throws bad_alloc
    // Returns those for which there was no room.
    std::span<const Range> fill(IovaCacheSlot& slot, std::shared_ptr<const Limits> limits,
                                std::span<const Range> ranges) noexcept;
    // give_back(range) for each that a cache or the depot has: none is left. Returns how many there were.
    template <class GiveBack>
    std::size_t recall(GiveBack&& give_back) noexcept {
        std::size_t count = 0;
        for (const auto& slot : slots_) count += empty(*slot, give_back);
        while (const auto bundle = take_any()) {
            for (const Iova iova : bundle->iovas) give_back(*Range::of(iova, length_of(bundle->size)));
            count += kIovaBundle;
        }
        return count;
    }
    // The same of one that goes.
    template <class GiveBack>
    std::size_t forget(IovaCacheSlot* slot, GiveBack&& give_back) noexcept {
        const std::size_t count = empty(*slot, give_back);
        std::erase_if(slots_, [&](const auto& other) { return other.get() == slot; });
        return count;
    }

private:
    struct Bundle {
        unsigned size = 0;
        Iova iovas[kIovaBundle];
        std::unique_ptr<Bundle> next;
    };
    struct Shelf {
        std::unique_ptr<Bundle> bundles;
        unsigned count = 0;
    };
    static constexpr unsigned kShelf = 32;  // bundles of a size; what is more goes to the Space

    template <class GiveBack>
    std::size_t empty(IovaCacheSlot& slot, GiveBack&& give_back) noexcept {
        std::size_t count = 0;
        const sys::OwnedClaim claim(slot.mutex);
        slot.limits = nullptr;
        for (unsigned size = 0; size < kIovaCacheSizes; ++size)
            for (auto& stack = slot.stacks[size]; stack.count > 0; --stack.count, ++count)
                give_back(*Range::of(stack.iovas[stack.count - 1], length_of(size)));
        return count;
    }
    bool take_bundle(unsigned size, IovaCacheSlot::Stack& stack) noexcept;
    bool put_bundle(unsigned size, IovaCacheSlot::Stack& stack) noexcept;
    std::unique_ptr<Bundle> take_any() noexcept;
    static std::unique_ptr<Bundle> pop(Shelf& shelf) noexcept;

    const std::uint64_t page_;
    const bool has_membarrier_;
    std::vector<std::unique_ptr<IovaCacheSlot>> slots_;
    sys::Mutex mutex_;
    Shelf shelves_[kIovaCacheSizes] IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::dma
