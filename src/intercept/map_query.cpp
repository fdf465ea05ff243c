// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/map_query.hpp"

#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <cerrno>

namespace iommufd::inline v0_1::intercept {
namespace {

// Linux's struct procmap_query, which Debian 12's headers don't have.
struct MapQuery {
    std::uint64_t size;
    std::uint64_t query_flags;
    std::uint64_t query_addr;
    std::uint64_t vma_start;
    std::uint64_t vma_end;
    std::uint64_t vma_flags;
    std::uint64_t vma_page_size;
    std::uint64_t vma_offset;
    std::uint64_t inode;
    std::uint32_t dev_major;
    std::uint32_t dev_minor;
    std::uint32_t vma_name_size;
    std::uint32_t build_id_size;
    std::uint64_t vma_name_addr;
    std::uint64_t build_id_addr;
};
static_assert(sizeof(MapQuery) == 104);

constexpr unsigned long kMapQuery = _IOWR('f', 17, MapQuery);
constexpr std::uint64_t kReadable = 1;
constexpr std::uint64_t kWritable = 2;
constexpr std::uint64_t kShared = 8;
constexpr std::uint64_t kThereOrNext = 0x10;

MapQuery at_or_behind(std::uint64_t address) {
    MapQuery query{};
    query.size = sizeof query;
    query.query_flags = kThereOrNext;
    query.query_addr = address;
    return query;
}

}  // namespace

bool query_maps(int maps, std::uint64_t first, std::uint64_t last, std::vector<model::MappedPiece>& pieces) {
    while (first <= last) {
        MapQuery query = at_or_behind(first);
        if (::ioctl(maps, kMapQuery, &query) < 0) return errno == ENOENT || errno == ESRCH;
        if (query.vma_start > last) break;
        pieces.push_back({.first = query.vma_start,
                          .last = query.vma_end - 1,
                          .container = ::makedev(query.dev_major, query.dev_minor),
                          .inode = query.inode,
                          .offset = query.vma_offset,
                          .shared = (query.vma_flags & kShared) != 0,
                          .readable = (query.vma_flags & kReadable) != 0,
                          .writable = (query.vma_flags & kWritable) != 0});
        if (query.vma_end == 0) break;
        first = query.vma_end;
    }
    return true;
}

std::optional<bool> query_alive(int maps) {
    MapQuery query = at_or_behind(0);
    if (::ioctl(maps, kMapQuery, &query) == 0 || errno == ENOENT) return true;
    if (errno == ESRCH) return false;
    return {};
}

}  // namespace iommufd::inline v0_1::intercept
