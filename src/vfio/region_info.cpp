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

// Where the sparse-mmap capability starts, if the chain has one.
std::optional<std::size_t> find_sparse(std::span<const std::byte> answer, std::size_t first) {
    std::size_t offset = first;
    // A chain that goes anywhere but forward is broken, and might never end.
    for (std::size_t last = 0; offset > last;) {
        const auto header = read_at<abi::InfoCapHeader>(answer, offset);
        if (!header) return std::nullopt;
        if (header->id == abi::kRegionCapSparseMmap) return offset;
        last = offset;
        offset = header->next;
    }
    return std::nullopt;
}

}  // namespace

std::vector<Area> mappable_areas(std::span<const std::byte> answer) {
    const auto info = read_at<abi::RegionInfo>(answer, 0);
    if (!info || !(info->flags & abi::kRegionMmap) || info->size == 0) return {};
    const auto sparse = info->flags & abi::kRegionCaps ? find_sparse(answer, info->cap_offset) : std::nullopt;
    if (!sparse) return {{.offset = 0, .size = info->size}};

    std::vector<Area> areas;
    const auto head = read_at<abi::RegionInfoCapSparseMmap>(answer, *sparse);
    if (!head) return areas;
    for (std::uint32_t i = 0; i < head->nr_areas; ++i) {
        const auto area = read_at<abi::RegionSparseMmapArea>(
            answer, *sparse + sizeof(abi::RegionInfoCapSparseMmap) + i * sizeof(abi::RegionSparseMmapArea));
        if (!area) break;
        if (area->size == 0 || area->offset >= info->size || area->size > info->size - area->offset) continue;
        areas.push_back({.offset = area->offset, .size = area->size});
    }
    std::ranges::sort(areas, {}, &Area::offset);
    return areas;
}

}  // namespace iommufd::inline v0_1::vfio
