// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/split_ring.hpp"

#include <atomic>

namespace iommufd::inline v0_1::model {
namespace {

struct Descriptor {
    std::uint64_t iova;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
};
constexpr std::uint16_t kMore = 1;
constexpr std::uint16_t kDeviceWrites = 2;
constexpr std::uint16_t kIndirect = 4;

struct UsedElement {
    std::uint32_t id;
    std::uint32_t length;
};

// Both rings begin with flags and an index; their elements follow.
constexpr std::uint64_t kIndex = 2;
constexpr std::uint64_t kElements = 4;
constexpr std::uint16_t kNoInterrupt = 1;

// An index and what it covers are moved by different calls.
void barrier() {
    static std::atomic<unsigned> order{0};
    order.fetch_add(1, std::memory_order_seq_cst);
}

}  // namespace

SplitRing::Next SplitRing::take(const IotlbPort& port, Chain& chain) {
    std::uint16_t end = 0;
    if (size == 0 || port.get(available + kIndex, end) < 0) return Next::broken;
    if (end == next_available) return Next::none;
    if (static_cast<std::uint16_t>(end - next_available) > size) return Next::broken;
    barrier();
    std::uint16_t index = 0;
    if (port.get(available + kElements + std::uint64_t{next_available % size} * sizeof index, index) < 0)
        return Next::broken;
    chain = {.head = index, .readable = {}, .writable = {}};
    const Next next = follow(port, index, chain);
    ++next_available;
    return next;
}

SplitRing::Next SplitRing::follow(const IotlbPort& port, std::uint16_t index, Chain& chain) const {
    for (std::uint32_t count = 0;; ++count) {
        Descriptor descriptor{};
        if (count == size || index >= size) return Next::broken;
        if (port.get(descriptors + std::uint64_t{index} * sizeof descriptor, descriptor) < 0)
            return Next::broken;
        if ((descriptor.flags & kIndirect) != 0) return Next::broken;  // was not offered
        auto& buffers = (descriptor.flags & kDeviceWrites) != 0 ? chain.writable : chain.readable;
        buffers.push_back({.iova = descriptor.iova, .length = descriptor.length});
        if ((descriptor.flags & kMore) == 0) return Next::chain;
        index = descriptor.next;
    }
}

bool SplitRing::give_back(const IotlbPort& port, std::uint16_t head, std::uint32_t written) {
    const UsedElement element{.id = head, .length = written};
    if (port.put(used + kElements + std::uint64_t{next_used % size} * sizeof element, element) < 0)
        return false;
    barrier();  // the data and the element before the index
    return port.put(used + kIndex, static_cast<std::uint16_t>(++next_used)) == 0;
}

bool SplitRing::wants_interrupt(const IotlbPort& port) const {
    barrier();
    std::uint16_t flags = 0;
    return port.get(available, flags) == 0 && (flags & kNoInterrupt) == 0;
}

}  // namespace iommufd::inline v0_1::model
