// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/region_info.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

namespace {

template <class T>
std::optional<T> read_at(std::span<const std::byte> answer, std::size_t offset) {
    if (offset > answer.size() || answer.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, answer.data() + offset, sizeof value);
    return value;
}

enum class Chain : std::uint8_t { absent, found, broken };

// Where the sparse-mmap capability starts.
Chain find_sparse(std::span<const std::byte> answer, std::size_t first, std::size_t& found) {
    // A chain that goes anywhere but forward is broken, and might never end.
    std::size_t end_of_last = sizeof(abi::RegionInfo);
    for (std::size_t offset = first; offset != 0;) {
        const auto header = read_at<abi::InfoCapHeader>(answer, offset);
        if (!header || offset < end_of_last) return Chain::broken;
        if (header->id == abi::kRegionCapSparseMmap) {
            found = offset;
            return Chain::found;
        }
        end_of_last = offset + sizeof *header;
        offset = header->next;
    }
    return Chain::absent;
}

}  // namespace

std::vector<Area> mappable_areas(std::span<const std::byte> answer) {
    const auto info = read_at<abi::RegionInfo>(answer, 0);
    if (!info || !(info->flags & abi::kRegionMmap) || info->size == 0) return {};
    std::size_t sparse = 0;
    const Chain chain =
        info->flags & abi::kRegionCaps ? find_sparse(answer, info->cap_offset, sparse) : Chain::absent;
    if (chain == Chain::absent) return {{.offset = 0, .size = info->size}};
    // Of a broken chain nothing is known, and accesses by system call are always right.
    const auto head = read_at<abi::RegionInfoCapSparseMmap>(answer, sparse);
    if (chain == Chain::broken || !head) return {};

    std::vector<Area> areas;
    for (std::size_t i = 0; i < head->nr_areas; ++i) {
        const auto area = read_at<abi::RegionSparseMmapArea>(
            answer, sparse + sizeof(abi::RegionInfoCapSparseMmap) + i * sizeof(abi::RegionSparseMmapArea));
        if (!area) break;
        if (area->size == 0 || area->offset >= info->size || area->size > info->size - area->offset) continue;
        areas.push_back({.offset = area->offset, .size = area->size});
    }
    std::ranges::sort(areas, {}, &Area::offset);
    return areas;
}

}  // namespace iommufd::inline v0_1::vfio
