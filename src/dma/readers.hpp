// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How readers never wait: they read an immutable Translation, and say in a slot of their own since when.
//
//     reader: slot.since = epoch (read-modify-write); translation = current
//     writer: current = new; ++epoch; wait until every slot is idle or says the new epoch; free the old
//
// Both sides are sequentially consistent: either the writer sees the slot, or the reader sees the new
// translation.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "iommufd/dma/reader.hpp"
#include "iommufd/error/result.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::dma {

// What is mapped at one moment.
struct Translation {
    struct Entry {
        Range range;
        std::byte* address;
        Access access;
    };
    std::vector<Entry> by_iova;
    std::vector<Entry> by_address;  // the same, in the order of their addresses
    std::uint64_t longest = 0;      // entry: how far back one that overlaps an address can start

    // Once it is replaced: since which epoch, and what must live until no reader sees it any more.
    std::uint64_t retired = 0;
    std::vector<std::shared_ptr<const void>> keep;
    std::unique_ptr<Translation> next;

    // Makes room, so that filling it can't fail.
    void reserve(std::size_t entries);
    void clear() noexcept;
    void add(const Entry& entry) noexcept;  // in the order of IOVAs
    void finish() noexcept;
};

struct ReaderSlot {
    explicit ReaderSlot(std::string_view name) : label(name) {}

    alignas(64) std::atomic<std::uint64_t> since = 0;  // the epoch of the oldest guard; 0: idle
    std::atomic<const void*> thread = nullptr;         // which thread holds it
    const std::atomic<const Translation*>* current = nullptr;
    const std::atomic<std::uint64_t>* epoch = nullptr;
    const Translation* seen = nullptr;  // by the oldest guard
    unsigned depth = 0;
    std::string label;
    bool taken = true;  // by a Reader; the mutex of Readers guards it

    // Not while a guard has outlived its Reader.
    bool is_free() const noexcept { return !taken && since.load() == 0; }
};

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

class Readers : public std::enable_shared_from_this<Readers> {
public:
    Readers();
    Readers(const Readers&) = delete;
    Readers& operator=(const Readers&) = delete;
    ~Readers();

    Reader make(std::string_view label);
    void give_back(ReaderSlot* slot) noexcept;

    // The label of a guard that the calling thread holds, if it does.
    const std::string* held_by_this_thread() const noexcept;

    // Makes `next` current. The one before, and with it `keep`, lives until no reader sees it any more.
    void publish(std::unique_ptr<Translation> next, std::vector<std::shared_ptr<const void>> keep) noexcept;
    // Waits until no guard is left that entered before the last publish(). ETIMEDOUT, naming the reader.
    Result<void> wait_for_readers(Deadline deadline) const;
    // Frees what no reader sees any more.
    void reclaim() noexcept;

private:
    std::unique_ptr<Translation> take_unseen() noexcept;

    std::atomic<const Translation*> current_;
    std::atomic<std::uint64_t> epoch_ = 1;
    mutable sys::Mutex mutex_;
    std::vector<std::unique_ptr<ReaderSlot>> slots_ IOMMUFD_GUARDED_BY(mutex_);  // reused, never freed
    std::unique_ptr<Translation> retired_ IOMMUFD_GUARDED_BY(mutex_);            // oldest first
    Translation* youngest_ IOMMUFD_GUARDED_BY(mutex_) = nullptr;                 // of them
};

}  // namespace iommufd::inline v0_1::dma
