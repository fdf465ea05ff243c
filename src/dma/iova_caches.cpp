// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/iova_caches.hpp"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "sys/membarrier.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

bool is_allowed(const Limits& limits, Range range) noexcept {
    return std::ranges::any_of(limits.ranges, [&](const Range& allowed) { return allowed.contains(range); });
}

}  // namespace

// Sleeps, since the holder may be a thread that this one keeps from running.
IovaCaches::IovaCaches(std::uint64_t page) noexcept
    : page_(page), has_membarrier_(sys::register_membarrier()) {}

// One by one: a long chain would end in deep recursion.
IovaCaches::~IovaCaches() {
    while (take_any()) {
    }
}

unsigned IovaCaches::size_of(std::uint64_t length) const noexcept {
    if (length > length_of(kIovaCacheSizes - 1)) return kIovaCacheSizes;
    return length <= page_ ? 0 : static_cast<unsigned>(std::bit_width((length - 1) / page_));
}

std::optional<Range> IovaCaches::alloc(IovaCacheSlot& slot, std::uint64_t length) noexcept {
    if (length == 0 || length > length_of(kIovaCacheSizes - 1)) return std::nullopt;
    const sys::OwnedLock lock(slot.mutex);
    if (!slot.limits) return std::nullopt;
    const unsigned size = size_of(std::max(length, slot.limits->alignment));
    if (size >= kIovaCacheSizes) return std::nullopt;
    auto& stack = slot.stacks[size];
    if (stack.count == 0 && !take_bundle(size, stack)) return std::nullopt;
    return Range::of(stack.iovas[--stack.count], length_of(size));
}

bool IovaCaches::free(IovaCacheSlot& slot, Range range) noexcept {
    const unsigned size = size_of(range.length());
    if (size >= kIovaCacheSizes || range.length() != length_of(size)) return false;
    const sys::OwnedLock lock(slot.mutex);
    if (!slot.limits || range.length() < slot.limits->alignment || !is_allowed(*slot.limits, range))
        return false;
    auto& stack = slot.stacks[size];
    if (stack.count == 2 * kIovaBundle && !put_bundle(size, stack)) return false;
    stack.iovas[stack.count++] = range.first;
    return true;
}

IovaCacheSlot* IovaCaches::make() {
    slots_.push_back(std::make_unique<IovaCacheSlot>(has_membarrier_));
    return slots_.back().get();
}

std::span<const Range> IovaCaches::fill(IovaCacheSlot& slot, std::shared_ptr<const Limits> limits,
                                        std::span<const Range> ranges) noexcept {
    const sys::OwnedLock lock(slot.mutex);
    slot.limits = std::move(limits);
    for (; !ranges.empty(); ranges = ranges.subspan(1)) {
        auto& stack = slot.stacks[size_of(ranges.front().length())];
        if (stack.count == 2 * kIovaBundle) break;
        stack.iovas[stack.count++] = ranges.front().first;
    }
    return ranges;
}

std::unique_ptr<IovaCaches::Bundle> IovaCaches::pop(Shelf& shelf) noexcept {
    if (!shelf.bundles) return nullptr;
    --shelf.count;
    auto bundle = std::move(shelf.bundles);
    shelf.bundles = std::move(bundle->next);
    return bundle;
}

bool IovaCaches::take_bundle(unsigned size, IovaCacheSlot::Stack& stack) noexcept {
    std::unique_ptr<Bundle> bundle;
    {
        const sys::Lock lock(mutex_);
        bundle = pop(shelves_[size]);
    }
    if (!bundle) return false;
    std::ranges::copy(bundle->iovas, stack.iovas + stack.count);
    stack.count += kIovaBundle;
    return true;
}

// The oldest ones.
bool IovaCaches::put_bundle(unsigned size, IovaCacheSlot::Stack& stack) noexcept {
    auto bundle = std::unique_ptr<Bundle>(new (std::nothrow) Bundle{.size = size});
    if (!bundle) return false;
    std::copy_n(stack.iovas, kIovaBundle, bundle->iovas);
    const sys::Lock lock(mutex_);
    Shelf& shelf = shelves_[size];
    if (shelf.count == kShelf) return false;
    ++shelf.count;
    bundle->next = std::move(shelf.bundles);
    shelf.bundles = std::move(bundle);
    std::copy(stack.iovas + kIovaBundle, stack.iovas + stack.count, stack.iovas);
    stack.count -= kIovaBundle;
    return true;
}

std::unique_ptr<IovaCaches::Bundle> IovaCaches::take_any() noexcept {
    const sys::Lock lock(mutex_);
    for (Shelf& shelf : shelves_)
        if (auto bundle = pop(shelf)) return bundle;
    return nullptr;
}

}  // namespace iommufd::inline v0_1::dma
