// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/readers.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// An address that differs from thread to thread.
const void* this_thread() noexcept {
    static thread_local char mark;
    return &mark;
}

}  // namespace

void Translation::reserve(std::size_t entries) {
    by_iova.reserve(entries);
    by_address.reserve(entries);
}

void Translation::clear() noexcept {
    by_iova.clear();
    by_address.clear();
    longest = 0;
}

void Translation::add(const Entry& entry) noexcept {
    by_iova.push_back(entry);
    by_address.push_back(entry);
    longest = std::max(longest, entry.range.length());
}

void Translation::finish() noexcept {
    std::ranges::sort(by_address, [](const Entry& a, const Entry& b) {
        return std::pair(a.address, a.range.first) < std::pair(b.address, b.range.first);
    });
}

Readers::Readers() : current_(new Translation) {}

Readers::~Readers() {
    delete current_.load();
    while (retired_) retired_ = std::move(retired_->next);  // one by one: a long chain would recurse
}

Reader Readers::make(std::string_view label) {
    const sys::Lock lock(mutex_);
    const auto idle = std::ranges::find_if(slots_, [](const auto& slot) { return slot->is_free(); });
    if (idle != slots_.end()) {
        (*idle)->label = label;
        (*idle)->taken = true;
        return Reader(shared_from_this(), idle->get());
    }
    auto slot = std::make_unique<ReaderSlot>(label);
    slot->current = &current_;
    slot->epoch = &epoch_;
    slots_.push_back(std::move(slot));
    return Reader(shared_from_this(), slots_.back().get());
}

void Readers::give_back(ReaderSlot* slot) noexcept {
    const sys::Lock lock(mutex_);
    slot->taken = false;
}

const std::string* Readers::held_by_this_thread() const noexcept {
    const sys::Lock lock(mutex_);
    for (const auto& slot : slots_)
        if (slot->since.load() != 0 && slot->thread.load() == this_thread()) return &slot->label;
    return nullptr;
}

void Readers::publish(std::unique_ptr<Translation> next,
                      std::vector<std::shared_ptr<const void>> keep) noexcept {
    std::unique_ptr<Translation> before(const_cast<Translation*>(current_.exchange(next.release())));
    before->keep = std::move(keep);
    const sys::Lock lock(mutex_);
    before->retired = epoch_.fetch_add(1) + 1;
    auto* const link = retired_ ? &youngest_->next : &retired_;
    youngest_ = before.get();
    *link = std::move(before);
}

void Readers::reclaim() noexcept {
    // Without the lock, since memory goes with it; one by one, since a long chain would recurse.
    for (auto free = take_unseen(); free;) free = std::move(free->next);
}

std::unique_ptr<Translation> Readers::take_unseen() noexcept {
    std::unique_ptr<Translation> free;
    const sys::Lock lock(mutex_);
    std::uint64_t oldest = ~std::uint64_t{0};
    for (const auto& slot : slots_)
        if (const std::uint64_t since = slot->since.load(); since != 0) oldest = std::min(oldest, since);
    auto* end = &free;
    while (retired_ && retired_->retired <= oldest) {
        *end = std::move(retired_);
        retired_ = std::move((*end)->next);
        end = &(*end)->next;
    }
    return free;
}

Result<void> Readers::wait_for_readers(Deadline deadline) const {
    const std::uint64_t now = epoch_.load();
    auto pause = std::chrono::microseconds(1);
    for (std::size_t next = 0;;) {
        const ReaderSlot* slot = nullptr;
        {
            const sys::Lock lock(mutex_);
            if (next == slots_.size()) return {};
            slot = slots_[next].get();
        }
        const std::uint64_t since = slot->since.load();
        if (since == 0 || since >= now) {
            ++next;
            continue;
        }
        if (deadline && std::chrono::steady_clock::now() >= *deadline) {
            const sys::Lock lock(mutex_);  // the label changes with the slot's owner
            return Error::refused(
                ETIMEDOUT, "memory is unmapped but not yet free",
                compose("reader '", slot->label, "' has held a guard all the time"),
                "keep guards shorter than the deadline; the memory is freed by a later change of the space");
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::microseconds(1000));
    }
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

Guard Reader::enter() & noexcept {
    if (slot_->depth++ == 0) {
        slot_->thread.store(this_thread(), std::memory_order_relaxed);
        slot_->since.exchange(slot_->epoch->load());
        slot_->seen = slot_->current->load();
    }
    return Guard(slot_, slot_->seen);
}

Guard::Guard(Guard&& other) noexcept
    : slot_(std::exchange(other.slot_, nullptr)), translation_(other.translation_) {}

Guard::~Guard() {
    if (slot_ && --slot_->depth == 0) slot_->since.store(0, std::memory_order_release);
}

std::span<std::byte> Guard::translate(Iova iova, std::uint64_t length, Access access) const noexcept {
    const auto& entries = translation_->by_iova;
    const auto after =
        std::ranges::upper_bound(entries, iova, {}, [](const auto& entry) { return entry.range.first; });
    if (after == entries.begin()) return {};
    const auto& entry = *std::prev(after);
    const bool allowed =
        (!may_read(access) || may_read(entry.access)) && (!may_write(access) || may_write(entry.access));
    if (!entry.range.contains(iova) || !allowed) return {};
    const std::uint64_t offset = iova - entry.range.first;
    return {entry.address + offset, std::min(length, entry.range.length() - offset)};
}

void Guard::reverse(const void* address, std::uint64_t length, std::vector<Iova>& iovas) const {
    const auto* const wanted = static_cast<const std::byte*>(address);
    const auto& entries = translation_->by_address;
    const std::size_t found = iovas.size();
    for (auto it = std::ranges::upper_bound(entries, wanted, {}, &Translation::Entry::address);
         it != entries.begin();) {
        --it;
        const auto offset = static_cast<std::uint64_t>(wanted - it->address);
        if (offset >= translation_->longest) break;
        if (offset < it->range.length() && length <= it->range.length() - offset)
            iovas.push_back(it->range.first + offset);
    }
    std::sort(iovas.begin() + static_cast<std::ptrdiff_t>(found), iovas.end());
}

}  // namespace iommufd::inline v0_1::dma
