// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Translation between IOVAs and pointers, for those who play a device: they never wait for map or unmap.
//
//     auto reader = space.reader("queue 3");            one per thread
//     {
//         auto guard = reader.enter();                  pointers live as long as the guard
//         std::span<std::byte> bytes = guard.translate(iova, length, Access::read);
//         guard.reverse(pointer, length, iovas);        all IOVAs: memory may be mapped twice
//     }
//
// A guard doesn't hold the picture still: what is mapped or unmapped meanwhile is seen by the next call. What it gave out
// lives until it goes. unmap() returns when no guard can still see the range; so keep guards short. A thread that unmaps
// while it holds a guard would wait for itself: it gets EDEADLK.
//
// While the space tracks dirty pages, translating with Access::write or read_write counts as writing: ask for what is written only.
//
// Cost: entering and leaving is a store each, translating a walk of three or four levels (page_radix.hpp). Who unmaps pays for
// it, with a membarrier(2).
//
// Threads: a Reader belongs to one thread at a time; its guards to the thread that entered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "iommufd/core/types.hpp"
#include "iommufd/dma/page_radix.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

class Readers;
class ReverseMap;

// What a reader and those who unmap share.
struct alignas(64) ReaderSlot {
    // Twice the epoch in which the newest of the guards that aren't within another was entered; plus 1 while it is held.
    std::atomic<std::uint64_t> entered = 0;
    alignas(64) std::atomic<const void*> thread =
        nullptr;                // that entered last; (hardly ever another: a line that stays)
    const bool fences = false;  // the reader must: there is no membarrier(2)
    const std::atomic<std::uint64_t>& epoch;
    const PageRadix& forward;
    const PageRadix& backward;  // what most of the addresses lead to
    const ReverseMap& reverse;  // and all
    const PageRadix& marks;     // what they write to, while that is asked for
};

class IOMMUFD_EXPORT Guard {
public:
    Guard(Guard&& other) noexcept
        : forward_(other.forward_),
          backward_(other.backward_),
          slot_(other.slot_),
          entered_(std::exchange(other.entered_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
        if (entered_)
            entered_->entered.store(entered_->entered.load(std::memory_order_relaxed) - 1,
                                    std::memory_order_release);
    }

    // The bytes at [iova, iova + length), if they lie side by side here and `access` is allowed; else as many from the start
    // on as do: none where nothing is mapped or `access` isn't allowed.
    [[gnu::always_inline]] std::span<std::byte> translate(Iova iova, std::uint64_t length,
                                                          Access access) const noexcept {
        const PageRadix::Found found = forward_->find(iova.value);
        const PageRadix::Entry wanted = static_cast<PageRadix::Entry>(access) << 1;
        if ((found.entry & wanted) != wanted) [[unlikely]]
            return translate_and_mark(iova, length, wanted, found);
        auto* const address =
            reinterpret_cast<std::byte*>(iova.value + (found.entry & PageRadix::kDifference));
        const std::uint64_t here = found.last_of(iova.value) - iova.value + 1;
        return {address, length <= here
                             ? length
                             : extend(iova, here, length, found.entry & PageRadix::kDifference, wanted)};
    }

    // The same in as many pieces as it takes, appended. Whether all of it is mapped, and allows it; else the pieces are those
    // before the first byte that isn't.
    bool translate(Iova iova, std::uint64_t length, Access access,
                   std::vector<std::span<std::byte>>& pieces) const;

    // Many blocks of one length, not 0 (a PRP list, the buffers of a ring): what they need is fetched ahead, for all of them at
    // once. addresses[i] is where iovas[i] leads, or null if not all of the block lies side by side here or `access` isn't allowed.
    // Returns how many are not null.
    std::size_t translate_each(std::span<const Iova> iovas, std::uint64_t length, Access access,
                               std::byte** addresses) const noexcept;

    // Appends every IOVA at which all of [address, address + length) is mapped, lowest first.
    void reverse(const void* address, std::uint64_t length, std::vector<Iova>& iovas) const;
    // One of them: fast.
    [[gnu::always_inline]] std::optional<Iova> iova_of(const void* address,
                                                       std::uint64_t length) const noexcept {
        const auto first = reinterpret_cast<std::uintptr_t>(address);
        const PageRadix::Found found = backward_->find(first);
        if ((found.entry & PageRadix::kRights) != 0 && length - 1 <= found.last_of(first) - first)
            return Iova{first + (found.entry & PageRadix::kDifference)};
        return search(first, length);
    }

private:
    friend class Reader;
    Guard(const ReaderSlot* slot, ReaderSlot* entered) noexcept
        : forward_(&slot->forward), backward_(&slot->backward), slot_(slot), entered_(entered) {}
    std::span<std::byte> translate_and_mark(Iova iova, std::uint64_t length, PageRadix::Entry wanted,
                                            PageRadix::Found found) const noexcept;
    std::uint64_t extend(Iova iova, std::uint64_t here, std::uint64_t length, PageRadix::Entry difference,
                         PageRadix::Entry wanted) const noexcept;
    std::optional<Iova> search(std::uint64_t first, std::uint64_t length) const noexcept;
    const PageRadix* forward_;
    const PageRadix* backward_;
    const ReaderSlot* slot_;
    ReaderSlot* entered_;  // null: within another guard of the same reader
};

class IOMMUFD_EXPORT Reader {
public:
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();

    // Wait-free. Guards of one reader may nest; they then end in reverse order.
    Guard enter() & noexcept {
        ReaderSlot& slot = *slot_;
        if ((slot.entered.load(std::memory_order_relaxed) & 1) != 0) return {&slot, nullptr};
        if (slot.thread.load(std::memory_order_relaxed) != __builtin_thread_pointer())
            slot.thread.store(__builtin_thread_pointer(), std::memory_order_relaxed);
        const std::uint64_t now = slot.epoch.load(std::memory_order_acquire) * 2 + 1;
        if (slot.fences) {
            slot.entered.exchange(now);
        } else {
            // Who sees it, sees all that was read under earlier guards as done.
            slot.entered.store(now, std::memory_order_release);
            std::atomic_signal_fence(std::memory_order_seq_cst);  // the writer's membarrier does the rest
        }
        return {&slot, &slot};
    }
    Guard enter() && = delete;  // the guard would outlive its reader

private:
    friend class Readers;
    Reader(std::shared_ptr<Readers> readers, ReaderSlot* slot) noexcept;
    std::shared_ptr<Readers> readers_;
    ReaderSlot* slot_;
};

}  // namespace iommufd::inline v0_1::dma
