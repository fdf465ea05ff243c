// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/iotlb.hpp"

#include <algorithm>
#include <cerrno>

#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::model {

bool Iotlb::overlaps(std::uint64_t first, std::uint64_t last) const {
    const auto entry = entries_.lower_bound(first);
    return entry != entries_.end() && entry->second.first <= last;
}

void Iotlb::remove(std::uint64_t first, std::uint64_t last) {
    auto entry = entries_.lower_bound(first);
    while (entry != entries_.end() && entry->second.first <= last) entry = entries_.erase(entry);
}

std::size_t Iotlb::look_up(std::uint64_t iova, std::size_t length, std::uint8_t permission,
                           physical::Address& memory) const {
    const auto entry = entries_.lower_bound(iova);
    if (entry == entries_.end() || entry->second.first > iova) return 0;
    if ((entry->second.permissions & permission) == 0) return 0;
    memory = entry->second.memory + (iova - entry->second.first);
    return std::min<std::uint64_t>(length - 1, entry->second.last - iova) + 1;
}

int Iotlb::read(std::uint64_t iova, std::span<std::byte> to, std::size_t& moved) const {
    for (moved = 0; moved < to.size();) {
        physical::Address memory = 0;
        const std::size_t now = look_up(iova + moved, to.size() - moved, uapi::vhost::kAccessRo, memory);
        if (now == 0 || physical::read(to.data() + moved, memory, now) < 0) return -EFAULT;
        moved += now;
    }
    return 0;
}

int Iotlb::write(std::uint64_t iova, std::span<const std::byte> from, std::size_t& moved) const {
    for (moved = 0; moved < from.size();) {
        physical::Address memory = 0;
        const std::size_t now = look_up(iova + moved, from.size() - moved, uapi::vhost::kAccessWo, memory);
        if (now == 0 || physical::write(memory, from.data() + moved, now) < 0) return -EFAULT;
        moved += now;
    }
    return 0;
}

}  // namespace iommufd::inline v0_1::model
