// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/vfio_compat.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <limits>

#include "model/map_destination.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::model {
namespace {

using namespace uapi::vfio;

struct CapHeader {
    std::uint16_t id;
    std::uint16_t version;
    std::uint32_t next;
};

struct CapDmaAvail {
    CapHeader header;
    std::uint32_t avail;
};

struct CapIovaRange {
    CapHeader header;
    std::uint32_t count;
    std::uint32_t reserved;
    // IovaRanges follow.
};

constexpr std::uint16_t kCapIovaRange = 1;
constexpr std::uint16_t kCapDmaAvail = 3;
constexpr std::size_t kLeastInfo = offsetof(IommuType1Info, cap_offset);

// Each returns the size of the capability, and writes it where there is room for it.
std::int64_t put_dma_avail(user::Address at, std::uint64_t room) {
    constexpr CapDmaAvail kCap{.header = {.id = kCapDmaAvail, .version = 1, .next = 0},
                               .avail = std::numeric_limits<std::uint32_t>::max()};
    if (room >= sizeof kCap && user::put(at, kCap) < 0) return -EFAULT;
    return sizeof kCap;
}

std::int64_t put_iova_ranges(const std::vector<IovaRange>& ranges, user::Address at, std::uint64_t room) {
    CapIovaRange cap{.header = {.id = kCapIovaRange, .version = 1, .next = 0}, .count = 0, .reserved = 0};
    std::uint64_t size = sizeof cap;
    for (const IovaRange& range : ranges) {
        const uapi::IovaRange out{.start = range.first, .last = range.last};
        if (room >= size + sizeof out && user::put(at + size, out) < 0) return -EFAULT;
        size += sizeof out;
        ++cap.count;
    }
    if (room >= size && user::put(at, cap) < 0) return -EFAULT;
    return static_cast<std::int64_t>(size);
}

}  // namespace

int Context::VfioCompat::ioctl(Context& context, unsigned long request, user::Address argument) {
    switch (request) {
        case kGetApiVersion:
            return 0;
        case kSetIommu:
            return set_iommu(context, argument);
        case kCheckExtension:
            return check_extension(context, argument);
        case kIommuGetInfo:
            return get_info(context, argument);
        case kIommuMapDma:
            return map_dma(context, argument);
        case kIommuUnmapDma:
            return unmap_dma(context, argument);
        default:
            return -ENOTTY;
    }
}

int Context::VfioCompat::set_iommu(Context& context, std::uint64_t type) {
    if (type != kType1Iommu && type != kType1v2Iommu) return -EINVAL;
    const sys::Lock lock(context.mutex_);
    Ioas* const ioas = context.quiet_ioas(context.vfio_ioas_);
    if (ioas == nullptr) return -ENODEV;
    // The older type unmaps in the middle of what was mapped, for which pages must be small.
    return type == kType1Iommu ? ioas->iopt.disable_large_pages() : 0;
}

int Context::VfioCompat::check_extension(Context& context, std::uint64_t extension) {
    switch (extension) {
        case kType1Iommu:
        case kType1v2Iommu:
        case kUnmapAll:
        case kNoiommuIommu:
            return 1;
        case kDmaCcIommu: {
            const sys::Lock lock(context.mutex_);
            const Ioas* const ioas = context.objects_.find<Ioas>(context.vfio_ioas_);
            if (ioas == nullptr) return -ENODEV;
            return ioas->hwpts.empty() ? 1 : 0;  // no IOMMU here enforces it
        }
        default:
            return 0;
    }
}

int Context::VfioCompat::get_info(Context& context, user::Address argument) {
    IommuType1Info info{};
    if (user::copy_from(&info, argument, kLeastInfo) < 0) return -EFAULT;
    if (info.argsz < kLeastInfo) return -EINVAL;
    const std::size_t replied = std::min<std::size_t>(info.argsz, sizeof info);
    const sys::Lock lock(context.mutex_);
    const Ioas* const ioas = context.objects_.find<Ioas>(context.vfio_ioas_);
    if (ioas == nullptr) return -ENODEV;
    info.flags = kIommuInfoPgsizes | kIommuInfoCaps;
    info.iova_pgsizes = ioas->iopt.page_sizes();

    std::uint64_t total = sizeof info;
    std::optional<std::uint64_t> previous;
    for (const bool ranges : {false, true}) {
        const std::uint64_t room = info.argsz > total ? info.argsz - total : 0;
        const std::int64_t size = ranges ? put_iova_ranges(ioas->iopt.usable(), argument + total, room)
                                         : put_dma_avail(argument + total, room);
        if (size < 0) return static_cast<int>(size);
        if (previous && info.argsz >= total) {
            const auto next = static_cast<std::uint32_t>(total);
            if (user::put(argument + *previous + offsetof(CapHeader, next), next) < 0) return -EFAULT;
        }
        previous = total;
        total += (static_cast<std::uint64_t>(size) + 7) / 8 * 8;
    }
    if (info.argsz >= total) info.cap_offset = sizeof info;
    info.argsz = static_cast<std::uint32_t>(total);
    return user::copy_to(argument, &info, replied);
}

int Context::VfioCompat::map_dma(Context& context, user::Address argument) {
    IommuType1DmaMap map{};
    if (user::get(map, argument) < 0) return -EFAULT;
    if (map.argsz < sizeof map || (map.flags & ~(kDmaMapRead | kDmaMapWrite)) != 0) return -EINVAL;
    std::uint32_t id = 0;
    {
        const sys::Lock lock(context.mutex_);
        id = context.vfio_ioas_;
        if (id == 0) return -ENODEV;
    }
    std::uint32_t flags = uapi::kMapFixedIova;
    if ((map.flags & kDmaMapRead) != 0) flags |= uapi::kMapReadable;
    if ((map.flags & kDmaMapWrite) != 0) flags |= uapi::kMapWriteable;
    std::uint64_t iova = map.iova;
    return context.map_user({.ioas_id = id, .flags = flags, .iova = iova}, map.vaddr, map.size, iova);
}

int Context::VfioCompat::unmap_dma(Context& context, user::Address argument) {
    constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
    IommuType1DmaUnmap unmap{};
    if (user::get(unmap, argument) < 0) return -EFAULT;
    if (unmap.argsz < sizeof unmap || (unmap.flags & ~kDmaUnmapAll) != 0) return -EINVAL;
    const sys::Lock lock(context.mutex_);
    Ioas* const ioas = context.objects_.find<Ioas>(context.vfio_ioas_);
    if (ioas == nullptr) return -ENODEV;
    IoPagetable& iopt = ioas->iopt;
    std::uint64_t unmapped = 0;
    int rc = 0;
    if ((unmap.flags & kDmaUnmapAll) != 0) {
        if (unmap.iova != 0 || unmap.size != 0) return -EINVAL;
        rc = iopt.unmap(0, kEnd, unmapped);
    } else {
        const std::uint64_t last = unmap.iova + unmap.size - 1;
        if (!iopt.large_pages()) {
            bool cut = false;
            bool cut_before = false;
            rc = iopt.cut_after(last, cut);
            if (rc == 0 && unmap.iova != 0) rc = iopt.cut_after(unmap.iova - 1, cut_before);
            if (rc == -ENOMEM && cut) iopt.join_after(last);
            if (rc < 0) return rc;
        }
        if (unmap.size == 0)
            rc = -EINVAL;
        else if (last < unmap.iova)
            rc = -EOVERFLOW;
        else
            rc = iopt.unmap(unmap.iova, last, unmapped);
    }
    unmap.size = unmapped;
    return user::put(argument, unmap) < 0 ? -EFAULT : rc;
}

}  // namespace iommufd::inline v0_1::model
