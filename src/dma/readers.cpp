// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/readers.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "sys/membarrier.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// How often to look whether a reader has entered, and for how many pauses to wait before the first look and between: together
// about what an interrupt would cost it.
constexpr unsigned kPatience = 32;
constexpr unsigned kFirst = 30;
constexpr unsigned kPause = 8;

void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

std::uint64_t address_of(const Interval& interval) noexcept {
    return reinterpret_cast<std::uintptr_t>(interval.address());
}

}  // namespace

Readers::Readers() : has_membarrier_(sys::register_membarrier()) {}

Readers::~Readers() {
    while (retired_) retired_ = std::move(retired_->next);  // one by one: a long chain would recurse
}

void Readers::build(const Intervals& intervals) {
    built_ = true;
    auto next = intervals.all().begin();
    try {
        for (; next != intervals.all().end(); ++next) {
            insert(next->second);
            if (next->second.shown && has(next->second)) show_rights(next->second, true);
        }
    } catch (...) {
        while (next != intervals.all().begin()) erase((--next)->second);
        free_unlinked();
        built_ = false;
        throw;
    }
}

Reader Readers::make(std::string_view label, const Intervals& intervals) {
    if (!built_) build(intervals);
    const sys::Lock lock(mutex_);
    auto slot = std::ranges::find_if(slots_, [](const auto& entry) { return entry->is_free(); });
    if (slot == slots_.end()) {
        slots_.push_back(std::unique_ptr<Slot>(new Slot{.shared = {.fences = !has_membarrier_,
                                                                   .epoch = epoch_,
                                                                   .forward = forward_,
                                                                   .backward = reverse_.first(),
                                                                   .reverse = reverse_,
                                                                   .marks = marks_.where()},
                                                        .label = {},
                                                        .taken = false,
                                                        .when_fenced = 0}));
        slot = slots_.end() - 1;
    }
    (*slot)->label = label;
    (*slot)->taken = true;
    ++taken_;
    return Reader(shared_from_this(), &(*slot)->shared);
}

void Readers::give_back(ReaderSlot* shared) noexcept {
    const sys::Lock lock(mutex_);
    const auto slot =
        std::ranges::find_if(slots_, [&](const auto& entry) { return &entry->shared == shared; });
    (*slot)->taken = false;
    // (A guard that outlives its reader goes on counting.)
    if ((*slot)->is_free()) --taken_;
}

const std::string* Readers::held_by_this_thread() const noexcept {
    if (!any()) return nullptr;
    const sys::Lock lock(mutex_);
    for (const auto& slot : slots_)
        if (slot->shared.thread.load() == __builtin_thread_pointer() && slot->is_held()) return &slot->label;
    return nullptr;
}

void Readers::insert(const Interval& interval) {
    if (!has(interval)) return;
    forward_.insert(interval.range, address_of(interval) - interval.range.first.value);
    try {
        reverse_.insert(address_of(interval), interval.range);
    } catch (...) {
        forward_.erase(interval.range);
        throw;
    }
}

void Readers::show_rights(const Interval& interval, bool shown) noexcept {
    unsigned rights = shown ? static_cast<unsigned>(interval.access) : 0;
    if (shown && marks_writes_ && may_write(interval.access))
        rights = (rights & static_cast<unsigned>(Access::read)) | PageRadix::kMarks >> 1;
    forward_.show(interval.range, rights);
    reverse_.show(address_of(interval), interval.range, shown);
}

void Readers::show(Interval& interval) noexcept {
    interval.shown = true;
    if (has(interval)) show_rights(interval, true);
}

void Readers::mark_writes(bool on, const Intervals::Map& intervals) noexcept {
    marks_writes_ = on;
    for (const auto& [first, interval] : intervals)
        if (has(interval)) forward_.mark_writes(interval.range, on);
}

void Readers::hide(Interval& interval) noexcept {
    interval.shown = false;
    if (has(interval)) show_rights(interval, false);
}

void Readers::cut(const Interval& interval) {
    if (!has(interval)) return;
    forward_.cut(interval.range.first.value);
    forward_.cut(interval.range.last.value + 1);
    reverse_.cut(address_of(interval), interval.range.first);
    reverse_.cut(address_of(interval) + interval.length(), interval.range.last + 1);
}

void Readers::erase(const Interval& interval) noexcept {
    if (!has(interval)) return;
    forward_.erase(interval.range);
    reverse_.erase(address_of(interval), interval.range);
}

void Readers::retire(std::unique_ptr<Retired> retired) noexcept {
    if (retired) retired->tables = PageMap::join(forward_.take_unlinked(), reverse_.take_unlinked());
    const sys::Lock lock(mutex_);
    const std::uint64_t epoch = epoch_.fetch_add(1) + 1;
    if (!retired) return;
    retired->epoch = epoch;
    has_retired_ = true;
    auto* const link = retired_ ? &youngest_->next : &retired_;
    youngest_ = retired.get();
    *link = std::move(retired);
}

void Readers::free_unlinked() noexcept {
    if (!built_) return;
    pool_.give_back(forward_.take_unlinked());
    pool_.give_back(reverse_.take_unlinked());
}

// Null past the last one.
Readers::Slot* Readers::slot(std::size_t index) const noexcept {
    const sys::Lock lock(mutex_);
    return index < slots_.size() ? slots_[index].get() : nullptr;
}

// Whether every reader shows by itself that it sees what was retired before. Gives those time that are entering all the time:
// whoever hasn't since the last one is idle, or in a long guard.
bool Readers::all_entered_since(std::uint64_t epoch) noexcept {
    bool all = true;
    unsigned looks = 0;
    const auto pause = [](unsigned times) {
        while (times-- != 0) relax();
    };
    // (Each look takes the slot's line away from the reader.)
    if (had_entered_.load(std::memory_order_relaxed)) pause(kFirst);
    for (std::size_t next = 0; Slot* const one = slot(next); ++next) {
        std::uint64_t entered = one->shared.entered.load();
        const bool enters = one->when_fenced.exchange(entered, std::memory_order_relaxed) != entered;
        for (; all && enters && entered / 2 < epoch && looks < kPatience; ++looks) {
            pause(kPause);
            entered = one->shared.entered.load();
        }
        all = all && entered / 2 >= epoch;
    }
    had_entered_.store(all, std::memory_order_relaxed);
    if (all) note_passed(epoch);
    return all;
}

void Readers::note_passed(std::uint64_t epoch) noexcept {
    const sys::Lock lock(mutex_);
    fenced_ = std::max(fenced_, epoch);
    passed_ = std::max(passed_, epoch);
}

// After it, each reader is seen in its slot, or sees what was retired before.
void Readers::fence(std::uint64_t epoch) noexcept {
    if (has_membarrier_) sys::membarrier();
    const sys::Lock lock(mutex_);
    fenced_ = std::max(fenced_, epoch);
}

Result<void> Readers::wait_for_readers(Deadline deadline) {
    if (!any()) return {};
    const std::uint64_t now = epoch_.load();
    if (all_entered_since(now)) return {};
    fence(now);
    auto pause = std::chrono::microseconds(1);
    for (std::size_t next = 0;;) {
        const Slot* const late = slot(next);
        if (!late) break;
        if (!late->is_held() || late->epoch() >= now) {
            ++next;
            continue;
        }
        if (deadline && std::chrono::steady_clock::now() >= *deadline) {
            const sys::Lock lock(mutex_);  // the label changes with the slot's owner
            return Error::refused(
                ETIMEDOUT, "memory is unmapped but not yet free",
                compose("reader '", late->label, "' has held a guard all the time"),
                "keep guards shorter than the deadline; the memory is freed by a later change of the space");
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::microseconds(1000));
    }
    note_passed(now);
    return {};
}

bool Readers::outwait(Deadline deadline) noexcept {
    if (!any()) return true;
    epoch_.fetch_add(1);
    return !held_by_this_thread() && guarded(Operation::none, [&] { return wait_for_readers(deadline); });
}

void Readers::reclaim() noexcept {
    if (!has_retired_) return;
    bool unfenced = false;
    {
        const sys::Lock lock(mutex_);
        unfenced = retired_ && youngest_->epoch > fenced_;
    }
    if (const std::uint64_t now = epoch_.load(); unfenced && !all_entered_since(now)) fence(now);
    // Without the lock, since memory goes with it; one by one, since a long chain would recurse.
    for (auto free = take_unseen(); free; free = std::move(free->next)) pool_.give_back(free->tables);
}

std::unique_ptr<Readers::Retired> Readers::take_unseen() noexcept {
    std::unique_ptr<Retired> free;
    const sys::Lock lock(mutex_);
    if (!retired_) return free;
    std::uint64_t unseen = passed_;
    if (youngest_->epoch > passed_) {
        unseen = fenced_;
        for (const auto& slot : slots_)
            if (slot->is_held()) unseen = std::min(unseen, slot->epoch());
    }
    auto* end = &free;
    while (retired_ && retired_->epoch <= unseen) {
        *end = std::move(retired_);
        retired_ = std::move((*end)->next);
        end = &(*end)->next;
    }
    has_retired_ = retired_ != nullptr;
    return free;
}

Reader::Reader(std::shared_ptr<Readers> readers, ReaderSlot* slot) noexcept
    : readers_(std::move(readers)), slot_(slot) {}
Reader::Reader(Reader&& other) noexcept : readers_(std::move(other.readers_)), slot_(other.slot_) {}

Reader& Reader::operator=(Reader&& other) noexcept {
    std::swap(readers_, other.readers_);
    std::swap(slot_, other.slot_);
    return *this;
}

Reader::~Reader() {
    if (readers_) readers_->give_back(slot_);
}

// How many bytes from `iova` on lie side by side, of which `here` are known to.
std::uint64_t Guard::extend(Iova iova, std::uint64_t here, std::uint64_t length, PageRadix::Entry difference,
                            PageRadix::Entry wanted) const noexcept {
    while (here < length) {
        const std::uint64_t next = iova.value + here;
        if (next < iova.value) return here;  // past the end of all addresses
        const PageRadix::Found found = slot_->forward.find(next);
        if (!PageRadix::allows(found.entry, wanted) || (found.entry & PageRadix::kDifference) != difference)
            return here;
        here += found.last_of(next) - next + 1;
    }
    return length;
}

std::size_t Guard::translate_each(std::span<const Iova> iovas, std::uint64_t length, Access access,
                                  std::byte** addresses) const noexcept {
    constexpr std::size_t kAtOnce = 64;  // more than a CPU has loads under way
    const PageRadix::Entry wanted = static_cast<PageRadix::Entry>(access) << 1;
    PageRadix::Leaf leaves[kAtOnce];
    std::size_t translated = 0;
    while (!iovas.empty()) {
        const auto some = iovas.first(std::min(iovas.size(), kAtOnce));
        for (std::size_t i = 0; i < some.size(); ++i) {
            leaves[i] = forward_->leaf(some[i].value);
            __builtin_prefetch(leaves[i].entry);
        }
        for (std::size_t i = 0; i < some.size(); ++i) {
            const std::uint64_t iova = some[i].value;
            const PageRadix::Entry entry = leaves[i].entry->load(std::memory_order_acquire);
            std::byte* address = nullptr;
            // (It has become a table since, or is something rarer.)
            if ((entry & PageRadix::kTable) != 0 || (entry & wanted) != wanted ||
                length - 1 > leaves[i].rest - (iova & leaves[i].rest)) [[unlikely]] {
                if (const auto found = translate(some[i], length, access); found.size() == length)
                    address = found.data();
            } else {
                address = reinterpret_cast<std::byte*>(iova + (entry & PageRadix::kDifference));
            }
            translated += address != nullptr;
            *addresses++ = address;
        }
        iovas = iovas.subspan(some.size());
    }
    return translated;
}

bool Guard::translate(Iova iova, std::uint64_t length, Access access,
                      std::vector<std::span<std::byte>>& pieces) const {
    while (length != 0) {
        const auto piece = translate(iova, length, access);
        if (piece.empty()) return false;
        pieces.push_back(piece);
        length -= piece.size();
        iova = iova + piece.size();
    }
    return true;
}

void Guard::reverse(const void* address, std::uint64_t length, std::vector<Iova>& iovas) const {
    const auto first = reinterpret_cast<std::uintptr_t>(address);
    if (length != 0 && first + (length - 1) >= first) slot_->reverse.find(first, first + (length - 1), iovas);
}

std::optional<Iova> Guard::search(std::uint64_t first, std::uint64_t length) const noexcept {
    if (length == 0 || first + (length - 1) < first) return std::nullopt;
    return slot_->reverse.find_one(first, first + (length - 1));
}

}  // namespace iommufd::inline v0_1::dma
