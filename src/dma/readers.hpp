// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How readers never wait: they walk trees that change under them, and say in a slot of their own in which epoch they entered.
//
//     reader: slot = epoch, held;                                            walk;     slot = epoch, not held
//     writer: take out what is to go; ++epoch; membarrier; wait until no slot is held since an earlier epoch; free it
//
// The membarrier makes every reader either be seen in its slot, or see what was taken out; so the reader needs no fence. But it
// interrupts every CPU that runs a thread of the process, readers first of all. It isn't needed where a slot already
// says the new epoch: whoever read that sees what was taken out before it, and is done with what it read earlier. A reader
// that enters all the time says so at once, so the writer looks for that long enough that the interrupt would have cost more.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dma/dirty_marks.hpp"
#include "dma/intervals.hpp"
#include "dma/reverse_map.hpp"
#include "iommufd/dma/reader.hpp"
#include "iommufd/error/result.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::dma {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

class Readers : public std::enable_shared_from_this<Readers> {
public:
    // What was taken out, with the memory that guards may still look at.
    struct Retired {
        Intervals::Map intervals;
        PageRadix::Table* tables = nullptr;
        std::uint64_t epoch = 0;
        std::unique_ptr<Retired> next;

        Retired() = default;
        Retired(const Retired&) = delete;
        Retired& operator=(const Retired&) = delete;
    };

    Readers();
    Readers(const Readers&) = delete;
    Readers& operator=(const Readers&) = delete;
    ~Readers();

    // For the first one what readers see is built, of these. Under the Space's mutex. Throws bad_alloc.
    Reader make(std::string_view label, const Intervals& intervals);
    void give_back(ReaderSlot* slot) noexcept;

    // The label of a guard that the calling thread holds, if it does.
    const std::string* held_by_this_thread() const noexcept;
    // Whether anybody could see anything.
    bool any() const noexcept { return taken_.load(std::memory_order_acquire) != 0; }

    // What readers see, once there has been one. One changes it at a time: the Space's mutex sees to that.
    void insert(const Interval& interval);  // unseen yet; throws bad_alloc, and then nothing has changed
    void show(Interval& interval) noexcept;
    void hide(Interval& interval) noexcept;
    void cut(const Interval& interval);  // makes blocks end where it does; throws bad_alloc
    void erase(const Interval& interval) noexcept;

    // What readers write to is marked from now on, or no longer.
    void mark_writes(bool on, const Intervals::Map& intervals) noexcept;
    DirtyMarks& marks() noexcept { return marks_; }
    // Waits for the guards of other threads that have entered by now. False: some are left at the deadline, or this thread has one.
    bool outwait(Deadline deadline) noexcept;

    // Takes over what was erased, until no guard is left that entered before. Null: the caller waits for that.
    void retire(std::unique_ptr<Retired> retired) noexcept;
    // The same where nobody could see it: free now.
    void free_unlinked() noexcept;
    // Waits until no guard is left that entered before the last retire(). ETIMEDOUT, naming the reader.
    Result<void> wait_for_readers(Deadline deadline);
    // Frees what no reader sees any more.
    void reclaim() noexcept;

private:
    struct Slot {
        ReaderSlot shared;
        std::string label;
        bool taken = false;                          // by a Reader
        std::atomic<std::uint64_t> when_fenced = 0;  // its `entered` then

        bool is_held() const noexcept { return (shared.entered.load() & 1) != 0; }
        std::uint64_t epoch() const noexcept { return shared.entered.load() / 2; }
        // Not while a guard has outlived its Reader.
        bool is_free() const noexcept { return !taken && !is_held(); }
    };

    // Whether it is in the trees: nothing is before there is a reader, and a dma-buf never.
    bool has(const Interval& interval) const noexcept { return built_ && interval.address(); }
    void build(const Intervals& intervals);
    void show_rights(const Interval& interval, bool shown) noexcept;
    void fence(std::uint64_t epoch) noexcept;
    bool all_entered_since(std::uint64_t epoch) noexcept;
    void note_passed(std::uint64_t epoch) noexcept;
    Slot* slot(std::size_t index) const noexcept;
    std::unique_ptr<Retired> take_unseen() noexcept;

    TablePool pool_;
    PageMap forward_{pool_};
    ReverseMap reverse_{pool_};
    bool built_ = false;
    DirtyMarks marks_{pool_};
    bool marks_writes_ = false;
    // (Beside nothing else that writers change: readers read it.)
    alignas(64) std::atomic<std::uint64_t> epoch_ = 1;
    alignas(64) std::atomic<std::size_t> taken_ = 0;  // slots that are taken, or were when a guard was there
    std::atomic<bool> has_retired_ = false;
    std::atomic<bool> had_entered_ = false;  // the last time that it was waited for
    const bool has_membarrier_;
    mutable sys::Mutex mutex_;
    std::vector<std::unique_ptr<Slot>> slots_ IOMMUFD_GUARDED_BY(mutex_);  // reused, never freed
    std::unique_ptr<Retired> retired_ IOMMUFD_GUARDED_BY(mutex_);          // oldest first
    Retired* youngest_ IOMMUFD_GUARDED_BY(mutex_) = nullptr;               // of them
    // Of what was retired up to these epochs: no guard that isn't seen in its slot looks at it; no guard at all.
    std::uint64_t fenced_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::uint64_t passed_ IOMMUFD_GUARDED_BY(mutex_) = 0;
};

}  // namespace iommufd::inline v0_1::dma
