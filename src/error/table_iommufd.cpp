// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table's part for /dev/iommu's objects and options, and for the VFIO container it emulates.
#include <cerrno>

#include "error/frame.hpp"

namespace iommufd::inline v0_1 {
namespace {

constexpr Row kOwn[] = {
    {Operation::destroy, ENOENT, "no object of this context has that id",
     "destroy an object once; the id of a vdevice is dead when its device is closed"},
    {Operation::destroy, EBUSY,
     "another object, an attached device, an open queue descriptor or a mapping uses it",
     "let go of its users first: devices and queue fds, then nested hwpts and vIOMMUs, then hwpts, then the "
     "IOAS"},

    {Operation::ioas_alloc, EOPNOTSUPP, "a flag is set that this kernel does not know",
     "pass no flags: Linux 7.3 defines none"},

    {Operation::ioas_iova_ranges, EOPNOTSUPP, "the reserved field is not zero", "zero the struct before use"},
    {Operation::ioas_iova_ranges, ENOENT, "no IOAS of this context has that id",
     "pass an id that IOMMU_IOAS_ALLOC of the same /dev/iommu returned"},
    {Operation::ioas_iova_ranges, EMSGSIZE, "the array is too small for all ranges",
     "call again with an array of the num_iovas that the kernel wrote back"},

    {Operation::ioas_allow_iovas, EOPNOTSUPP, "the reserved field is not zero", "zero the struct before use"},
    {Operation::ioas_allow_iovas, ENOENT, "no IOAS of this context has that id",
     "pass an id that IOMMU_IOAS_ALLOC of the same /dev/iommu returned"},
    {Operation::ioas_allow_iovas, EINVAL,
     "a range has its last IOVA not above its first, or two ranges overlap",
     "give disjoint ranges of at least two bytes"},
    {Operation::ioas_allow_iovas, EADDRINUSE, "a range overlaps IOVAs that an attached device reserves",
     "keep within what IOMMU_IOAS_IOVA_RANGES reports"},

    {Operation::option, EOPNOTSUPP,
     "the option or its operation is unknown, or object_id is set for a global one",
     "pass object_id 0 for RLIMIT_MODE and an IOAS for HUGE_PAGES, or boot a newer Linux"},
    {Operation::option, EPERM, "changing RLIMIT_MODE needs CAP_SYS_RESOURCE",
     "grant CAP_SYS_RESOURCE to whoever opens the iommufd, or keep accounting per user"},
    {Operation::option, EBUSY, "RLIMIT_MODE can change only while the context has no object",
     "set it first thing after opening /dev/iommu"},
    {Operation::option, ENOENT, "no IOAS of this context has that id",
     "pass an id that IOMMU_IOAS_ALLOC of the same /dev/iommu returned"},
    {Operation::option, EINVAL,
     "the value is neither 0 nor 1, or HUGE_PAGES goes off while there are both mappings and devices",
     "turn HUGE_PAGES off before the first mapping or the first attach"},
    {Operation::option, EADDRINUSE, "HUGE_PAGES can't go off: a mapping is not aligned to the page size",
     "unmap what isn't page-aligned first"},

    {Operation::vfio_ioas, EOPNOTSUPP, "the operation is unknown or the reserved field not zero",
     "use GET, SET or CLEAR"},
    {Operation::vfio_ioas, ENODEV, "the context has no compatibility IOAS", "set one with SET first"},
    {Operation::vfio_ioas, ENOENT, "no IOAS of this context has that id",
     "pass an id that IOMMU_IOAS_ALLOC of the same /dev/iommu returned"},

    // The VFIO container, as /dev/iommu emulates it. ENODEV is in the frame.
    {Operation::type1_check_extension, ENODEV, "cache coherency was asked for without a compatibility IOAS",
     "set one with IOMMU_VFIO_IOAS, and attach the device, first"},

    {Operation::type1_set_iommu, EINVAL,
     "the type is not one of type1's, or type1 needs small pages and there are mappings and devices already",
     "ask for VFIO_TYPE1v2_IOMMU, before the first mapping"},
    {Operation::type1_set_iommu, EADDRINUSE, "type1 needs page alignment and a mapping has less",
     "ask for VFIO_TYPE1v2_IOMMU, or unmap it first"},
    {Operation::type1_set_iommu, EPERM, "mode noiommu needs CAP_SYS_RAWIO", "grant CAP_SYS_RAWIO"},

    {Operation::type1_get_info, EINVAL, "argsz is less than the struct's first version",
     "set argsz to the struct's size"},

    {Operation::type1_map_dma, EINVAL,
     "a flag is unknown, or the range is empty, misaligned or on IOVAs that devices reserve or can't reach",
     "use READ and WRITE only, and compare the range with the IOVA ranges of VFIO_IOMMU_GET_INFO"},
    {Operation::type1_map_dma, EEXIST, "part of the IOVA range is mapped already", "unmap it first"},
    {Operation::type1_map_dma, EFAULT, "part of the memory is unmapped, lacks the rights, or is a device's",
     "map memory of this process that is readable, and writable if WRITE is set"},
    {Operation::type1_map_dma, ENOMEM,
     "RLIMIT_MEMLOCK does not allow that many pinned pages, or the kernel has no memory for page tables",
     "raise the limit (`ulimit -l`, LimitMEMLOCK= of the service), or grant CAP_IPC_LOCK"},
    {Operation::type1_map_dma, EOVERFLOW, "the range wraps around at 2^64",
     "keep address + size and IOVA + size below 2^64"},

    {Operation::type1_unmap_dma, EINVAL,
     "a flag is unknown (dirty bitmaps are not emulated), the size is zero, or ALL came with a range",
     "read dirty pages with IOMMU_HWPT_GET_DIRTY_BITMAP, and pass iova and size 0 with ALL"},
    {Operation::type1_unmap_dma, ENOENT,
     "type1v2 does not split a mapping, and the range covers only part of one",
     "unmap the ranges as they were mapped"},
    {Operation::type1_unmap_dma, EBUSY, "a mapping in the range is being changed, or holds a hardware queue",
     "destroy the hardware queue, or try again when the other call is done"},
    {Operation::type1_unmap_dma, EDEADLOCK,
     "a mediated device's driver does not let go of pages in the range", "stop that device first"},
    {Operation::type1_unmap_dma, EOVERFLOW, "the range wraps around at 2^64", "keep iova + size below 2^64"},
    {Operation::type1_unmap_dma, EOPNOTSUPP, "the range covers part of a dma-buf, which can't be split",
     "unmap the dma-buf whole"},
};

constexpr auto kRows = with_frame<kOwn>();

}  // namespace

constinit const std::span<const Row> kIommufdRows = kRows;

}  // namespace iommufd::inline v0_1
