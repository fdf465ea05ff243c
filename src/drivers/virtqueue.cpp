// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/virtqueue.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

using namespace uapi::virtio;

constexpr std::uint64_t align(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

// Where the three parts start, and the end; each at the alignment that virtio asks for. `used` starts a cache
// line of its own: the device writes it.
struct Layout {
    explicit constexpr Layout(std::uint16_t entries)
        : available(sizeof(Desc) * entries),
          used(align(
              available + sizeof(AvailHeader) + sizeof(std::uint16_t) * entries + sizeof(std::uint16_t), 64)),
          end(used + sizeof(UsedHeader) + sizeof(UsedElem) * entries + sizeof(std::uint16_t)) {}

    std::uint64_t available;
    std::uint64_t used;
    std::uint64_t end;
};

// The device reads or writes the index at any time.
std::atomic_ref<std::uint16_t> shared_index(std::byte* ring, std::size_t offset) noexcept {
    return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(ring + offset));
}

}  // namespace

std::uint64_t Virtqueue::bytes_needed(std::uint16_t entries) noexcept { return Layout(entries).end; }

Virtqueue::Virtqueue(Window window, std::uint16_t entries)
    : window_(window), entries_(entries), next_(entries), length_(entries), free_(entries) {
    std::memset(window_.memory, 0, Layout(entries).end);
    for (std::uint16_t i = 0; i < entries; ++i) next_[i] = static_cast<std::uint16_t>(i + 1);
}

vdpa::RingAddresses Virtqueue::addresses() const noexcept {
    const Layout layout(entries_);
    return {.descriptors = window_.iova,
            .available = window_.iova + layout.available,
            .used = window_.iova + layout.used};
}

Result<std::uint16_t> Virtqueue::offer(std::span<const Segment> segments) {
    if (segments.empty() || segments.size() > free_)
        return Error::refused(ENOSPC, compose("cannot offer a request of ", segments.size(), " buffers"),
                              compose(free_, " of the queue's ", entries_, " descriptors are free"),
                              "take what the device is done with first, or use a longer queue");
    const std::uint16_t head = first_free_;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::uint16_t index = first_free_;
        first_free_ = next_[index];
        const bool last = i + 1 == segments.size();
        const Desc descriptor{.addr = segments[i].iova.value,
                              .len = segments[i].length,
                              .flags = static_cast<std::uint16_t>(
                                  (last ? 0 : kDescNext) | (segments[i].device_writes ? kDescWrite : 0)),
                              .next = last ? std::uint16_t{0} : first_free_};
        std::memcpy(at(sizeof(Desc) * index), &descriptor, sizeof descriptor);
    }
    length_[head] = static_cast<std::uint16_t>(segments.size());
    free_ = static_cast<std::uint16_t>(free_ - segments.size());

    std::byte* const available = at(Layout(entries_).available);
    std::memcpy(available + sizeof(AvailHeader) + sizeof head * (available_idx_ % entries_), &head,
                sizeof head);
    ++available_idx_;
    // Release: the device sees descriptors and entry once it sees the index.
    shared_index(available, offsetof(AvailHeader, idx)).store(available_idx_, std::memory_order_release);
    return head;
}

Result<std::optional<Used>> Virtqueue::take() {
    std::byte* const used = at(Layout(entries_).used);
    // Acquire: what the device wrote before the index is seen from here on, the data included.
    const std::uint16_t idx = shared_index(used, offsetof(UsedHeader, idx)).load(std::memory_order_acquire);
    if (idx == used_idx_) return std::optional<Used>();
    UsedElem element;
    std::memcpy(&element, used + sizeof(UsedHeader) + sizeof element * (used_idx_ % entries_),
                sizeof element);
    if (static_cast<std::uint16_t>(idx - used_idx_) > entries_ || element.id >= entries_ ||
        length_[element.id] == 0)
        return Error::refused(EIO, "cannot go on with a virtqueue",
                              compose("the device returned request ", element.id, " at index ", idx,
                                      ", which it does not have"),
                              "reset the device");
    ++used_idx_;
    const auto head = static_cast<std::uint16_t>(element.id);
    std::uint16_t tail = head;
    for (std::uint16_t i = 1; i < length_[head]; ++i) tail = next_[tail];
    next_[tail] = first_free_;
    first_free_ = head;
    free_ = static_cast<std::uint16_t>(free_ + std::exchange(length_[head], std::uint16_t{0}));
    return std::optional<Used>({.head = head, .written = element.len});
}

}  // namespace iommufd::inline v0_1::drivers
