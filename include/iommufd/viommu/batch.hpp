// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a guest invalidates, collected and told to the kernel by one call.
//
//     viommu::Batch<smmuv3::Command> batch;
//     for (each command of the guest's queue) {
//         ...
//         if (!batch.add(command)) flush(), then add it;                      // full
//     }
//     at the guest's CMD_SYNC:
//     while (auto flushed = batch.flush(viommu); !flushed) {                  // or a GuestDevice, and a PASID
//         report(flushed.error(), batch.bad());                               // entries()[bad()] is what the kernel refused
//         batch.skip();                                                       // and go on behind it; or clear()
//     }
//
// The kernel handles entries in their order and stops at one that it refuses: those before it are done. (Except on SMMUv3 of
// Linux 7.3: it sends commands to the hardware 63 at a time, and when it refuses one it counts those before it in its lot
// as handled though it has not sent them. Here they stay in the batch, and go again with the next flush.)
//
// An entry that is not done must not be forgotten: the guest's device would go on with what the guest has taken away. So what
// is left in a batch stays there until skip() or clear() says otherwise.
//
// Threads: by one at a time. Linux: 6.8 (viommu 6.13). It needs no memory.
#pragma once

#include <algorithm>
#include <array>

#include "iommufd/viommu/format.hpp"

namespace iommufd::inline v0_1::viommu {

// How many entries the kernel may count as handled before it handles them, as of a struct's kLot; 1: none.
template <class Entry>
constexpr std::size_t lot_of() {
    if constexpr (requires { Entry::kLot; })
        return Entry::kLot;
    else
        return 1;
}

template <Encoded Entry, std::size_t capacity = 126>
class Batch {
public:
    // False: it is full; flush it first.
    [[nodiscard]] bool add(const Entry& entry) noexcept {
        if (size_ == capacity) return false;
        entries_[size_++] = entry;
        return true;
    }

    bool empty() const noexcept { return size_ == 0; }
    std::span<const Entry> entries() const noexcept { return std::span(entries_).first(size_); }

    // Tells `target` (a core::Viommu, a nested core::Hwpt, or a GuestDevice and perhaps a PASID) of all entries by one call, and is
    // empty then. After an error those that are done for sure have left; entries()[bad()] is the one that was refused, if
    // the error is about one (EINVAL, EOPNOTSUPP, EIO).
    template <class Target, class... Which>
    Result<void> flush(const Target& target, Which... which) noexcept {
        done_ = bad_ = 0;
        if (size_ == 0) return {};
        std::uint32_t handled = 0;
        auto flushed = target.invalidate(
            core::Invalidation{
                .type = Entry::kType, .entry_length = sizeof(Entry), .entries = std::as_bytes(entries())},
            handled, which...);
        if (flushed) {
            done_ = size_;
            size_ = 0;
            return flushed;
        }
        done_ = handled - handled % lot_of<Entry>();
        bad_ = std::min(handled - done_, size_ - done_ - 1);
        take_out(0, done_);
        return flushed;
    }

    // Of the last flush: the entries that the kernel has handled for sure, and the place of the refused one among those left.
    std::size_t done() const noexcept { return done_; }
    std::size_t bad() const noexcept { return bad_; }

    // Takes the refused one out.
    void skip() noexcept {
        if (bad_ < size_) take_out(bad_, 1);
    }
    void clear() noexcept { size_ = 0; }

private:
    void take_out(std::size_t first, std::size_t count) noexcept {
        std::move(entries_.begin() + first + count, entries_.begin() + size_, entries_.begin() + first);
        size_ -= count;
    }

    std::array<Entry, capacity> entries_;
    std::size_t size_ = 0;
    std::size_t done_ = 0;
    std::size_t bad_ = 0;
};

}  // namespace iommufd::inline v0_1::viommu
