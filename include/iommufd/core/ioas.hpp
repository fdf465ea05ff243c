// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An I/O address space: which memory the devices attached to it may reach, by IOVA.
//
//     Context --IOAS_ALLOC--> Ioas     map, map_file, copy, unmap: areas of memory at IOVAs
//                               ^
//                               '-- devices attach to it, or to a Hwpt made from it
//
// These are the kernel's own calls, with the kernel's own rules; dma::Space keeps books on top of them,
// tells apart what the kernel lumps together, and should be preferred. Worth knowing (Linux 7.3):
//   - Without a device attached nothing is pinned, checked or charged: errors appear at the attach.
//   - unmap never splits an area. If the range ends inside one, it fails with ENOENT after having unmapped
//     the whole areas before it, without saying how many bytes that was.
//   - Every map is charged to RLIMIT_MEMLOCK on its own, even for the same pages; copy isn't.
//
// Threads: any calls may run at once; two maps to one IOAS run in parallel in the kernel.
// Linux: 6.2 (map_file 6.13, noiommu_physical_address 7.2).
#pragma once

#include <span>

#include "iommufd/core/context.hpp"

namespace iommufd::inline v0_1::core {

class ObjectNode;

struct IovaRanges {
    std::vector<Range> ranges;  // what is not reserved, ascending
    std::uint64_t alignment;    // of iova, length and address, in bytes; 1 while nothing is attached
};

struct PhysicalRange {
    std::uint64_t address;
    std::uint64_t length;  // contiguous from there on, in bytes
};

class IOMMUFD_EXPORT Ioas {
public:
    struct Options {
        std::string_view label;
    };

    // ENOMEM.
    static Result<Ioas> alloc(const Context& context);
    static Result<Ioas> alloc(const Context& context, Options options);
    // One that the process before this one had made, and handed over with the context's descriptor: this handle destroys it.
    // ENOENT: there is none with this id.
    static Result<Ioas> adopt(const Context& context, IoasId id, Options options);

    Ioas(Ioas&&) noexcept;
    Ioas& operator=(Ioas&&) noexcept;
    ~Ioas();

    IoasId id() const noexcept;

    // Maps `length` bytes of this process at `address`; with an iova exactly there, otherwise where the
    // kernel finds room. Returns the iova. EEXIST overlap, EINVAL misaligned or outside the ranges, ENOMEM
    // limit or memory, EFAULT no such memory (or a device's BAR), ENOSPC no room, EOVERFLOW.
    Result<Iova> map(const void* address, std::uint64_t length, Access access) const;
    Result<Iova> map(const void* address, std::uint64_t length, Access access, Iova at) const;

    // Maps `length` bytes of a file (memfd, shmem, hugetlbfs) or a VFIO dma-buf from offset `start` on.
    // The file's open mode and seals are not looked at by the kernel. ENOTTY before Linux 6.13.
    Result<Iova> map_file(int fd, std::uint64_t start, std::uint64_t length, Access access) const;
    Result<Iova> map_file(int fd, std::uint64_t start, std::uint64_t length, Access access, Iova at) const;

    // Maps what `source` has at `from` here as well, pinned and charged once. ENOENT: a hole there.
    Result<Iova> copy(const Ioas& source, Iova from, std::uint64_t length, Access access) const;
    Result<Iova> copy(const Ioas& source, Iova from, std::uint64_t length, Access access, Iova at) const;

    // Unmaps all areas that lie in the range; returns their bytes. ENOENT: nothing there, or an area would be
    // split.
    Result<std::uint64_t> unmap(Iova iova, std::uint64_t length) const;
    // Everything; returns the bytes.
    Result<std::uint64_t> unmap_all() const;

    // What may be mapped now. It narrows with each device that attaches: ask again after that.
    Result<IovaRanges> iova_ranges() const;
    // Keeps the kernel's own choice of IOVAs, and what later devices may reserve, to these; none lifts it.
    Result<void> allow_iovas(std::span<const Range> ranges) const;

    // Whether the IOMMU may use pages larger than the CPU's smallest (the default). Off costs time, and gives
    // dirty tracking its finest grain. EINVAL once there are mappings and devices.
    Result<bool> huge_pages() const;
    Result<void> set_huge_pages(bool on) const;

    // For a device without an IOMMU (noiommu): where in physical memory an iova is. CAP_SYS_RAWIO. Linux 7.2.
    Result<PhysicalRange> noiommu_physical_address(Iova iova, std::uint64_t length) const;

    // EBUSY, and the handle stays, while something stands on it.
    Result<void> destroy() &&;

    const std::shared_ptr<ObjectNode>& node() const noexcept { return node_; }

private:
    explicit Ioas(std::shared_ptr<ObjectNode> node) noexcept;
    std::shared_ptr<ObjectNode> node_;
};

// Which IOAS the VFIO type1 ioctls act on, when a program issues them on the iommufd itself.
IOMMUFD_EXPORT Result<IoasId> vfio_ioas(const Context& context);  // ENODEV: none
IOMMUFD_EXPORT Result<void> set_vfio_ioas(const Context& context, const Ioas& ioas);
IOMMUFD_EXPORT Result<void> clear_vfio_ioas(const Context& context);

}  // namespace iommufd::inline v0_1::core
