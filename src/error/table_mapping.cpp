// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table's part for mapping memory into an IOAS.
#include <cerrno>

#include "error/frame.hpp"

namespace iommufd::inline v0_1 {
namespace {

constexpr Row kOwn[] = {
    {Operation::ioas_map, EOPNOTSUPP,
     "a flag is set that this kernel does not know, or the reserved field isn't zero",
     "use FIXED_IOVA, WRITEABLE and READABLE only, or boot a newer Linux"},
    {Operation::ioas_map, EOVERFLOW, "the range wraps around at 2^64, or IOVA or length is 2^64 - 1",
     "keep address + length and IOVA + length below 2^64"},
    {Operation::ioas_map, EINVAL,
     "the range is empty, misaligned, without access rights, or on IOVAs that devices reserve or can't reach",
     "compare it with IOMMU_IOAS_IOVA_RANGES: the ranges and the alignment"},
    {Operation::ioas_map, ENOENT, "no IOAS of this context has that id",
     "pass an id that IOMMU_IOAS_ALLOC of the same /dev/iommu returned"},
    {Operation::ioas_map, EEXIST, "part of the IOVA range is mapped already",
     "unmap it first, or leave FIXED_IOVA out and take the IOVA that the kernel finds"},
    {Operation::ioas_map, ENOSPC, "no free and allowed IOVA range is long enough at the alignment it needs",
     "unmap something, widen IOMMU_IOAS_ALLOW_IOVAS, or name a fixed IOVA"},
    {Operation::ioas_map, EFAULT,
     "part of the memory is unmapped, lacks the rights asked for, or is a device's (VM_IO)",
     "map memory with those rights; of a device BAR, map its dma-buf with IOMMU_IOAS_MAP_FILE"},
    {Operation::ioas_map, ENOMEM,
     "RLIMIT_MEMLOCK does not allow that many pinned pages, or the kernel has no memory for page tables",
     "raise the limit (`ulimit -l`, LimitMEMLOCK= of the service), or grant CAP_IPC_LOCK"},

    {Operation::ioas_map_file, EOPNOTSUPP,
     "a flag is unknown, or the dma-buf is of an exporter other than vfio-pci or has several ranges",
     "export one range with VFIO_DEVICE_FEATURE_DMA_BUF (Linux 6.19), or map it through its address"},
    {Operation::ioas_map_file, EOVERFLOW, "the range wraps around at 2^64, or IOVA or length is 2^64 - 1",
     "keep start + length and IOVA + length below 2^64"},
    {Operation::ioas_map_file, EINVAL,
     "the range is empty, misaligned, past the file's last whole page or on unusable IOVAs, or the file is "
     "no memfd",
     "use a memfd or a file on tmpfs or hugetlbfs, and compare the range with IOMMU_IOAS_IOVA_RANGES"},
    {Operation::ioas_map_file, EBADF, "the file's descriptor is not open",
     "keep the file open until it is mapped"},
    {Operation::ioas_map_file, ENODEV,
     "the dma-buf is revoked: its device was reset, sleeps or has memory access off",
     "set the memory bit of the device's command register, then map the dma-buf again"},
    {Operation::ioas_map_file, ENOENT, "no IOAS of this context has that id",
     "pass an id that IOMMU_IOAS_ALLOC of the same /dev/iommu returned"},
    {Operation::ioas_map_file, EEXIST, "part of the IOVA range is mapped already",
     "unmap it first, or leave FIXED_IOVA out and take the IOVA that the kernel finds"},
    {Operation::ioas_map_file, ENOSPC,
     "no free and allowed IOVA range is long enough at the alignment it needs",
     "unmap something, widen IOMMU_IOAS_ALLOW_IOVAS, or name a fixed IOVA"},
    {Operation::ioas_map_file, ENOMEM,
     "RLIMIT_MEMLOCK does not allow that many pinned pages, or memory or huge pages for the file ran out",
     "raise the limit (`ulimit -l`, LimitMEMLOCK= of the service), or look at HugePages_Free in "
     "/proc/meminfo"},

    {Operation::ioas_copy, EOPNOTSUPP, "a flag is set that this kernel does not know",
     "use FIXED_IOVA, WRITEABLE and READABLE only, or boot a newer Linux"},
    {Operation::ioas_copy, EOVERFLOW, "a range wraps around at 2^64, or an IOVA or the length is 2^64 - 1",
     "keep both IOVAs + length below 2^64"},
    {Operation::ioas_copy, EINVAL,
     "the range is empty, misaligned, without access rights, or on IOVAs that devices reserve or can't reach",
     "compare it with IOMMU_IOAS_IOVA_RANGES of the destination"},
    {Operation::ioas_copy, ENOENT, "an IOAS id is unknown, or part of the source range is not mapped",
     "copy a range that is mapped without holes, within one /dev/iommu"},
    {Operation::ioas_copy, EPERM, "the source was first mapped without WRITEABLE, so no copy can have it",
     "copy without WRITEABLE, or map the source writable"},
    {Operation::ioas_copy, EEXIST, "part of the destination range is mapped already",
     "unmap it first, or leave FIXED_IOVA out and take the IOVA that the kernel finds"},
    {Operation::ioas_copy, ENOSPC, "the destination has no free and allowed IOVA range that is long enough",
     "unmap something, widen IOMMU_IOAS_ALLOW_IOVAS, or name a fixed IOVA"},
    {Operation::ioas_copy, EFAULT,
     "the source's memory can't be pinned: it is unmapped, or its process is gone",
     "attach a device to the source IOAS before, so that its pages are pinned, or map a file"},
    {Operation::ioas_copy, ENOMEM,
     "RLIMIT_MEMLOCK of the process that mapped the source does not allow pinning it, or memory ran out",
     "raise the limit of that process (`prlimit --memlock`), or free memory"},

    {Operation::ioas_unmap, EINVAL, "the length is zero", "unmap at least one byte"},
    {Operation::ioas_unmap, EOVERFLOW, "the range wraps around at 2^64",
     "keep IOVA + length below 2^64; IOVA 0 with length 2^64 - 1 unmaps all"},
    {Operation::ioas_unmap, ENOENT,
     "the IOAS is unknown, nothing is mapped there, or the range ends inside a mapping",
     "unmap whole mappings; those before the one it would split are gone already"},
    {Operation::ioas_unmap, EBUSY,
     "a mapping in the range is being mapped or unmapped, or holds a hardware queue",
     "destroy the hardware queue, or try again when the other call is done"},
    {Operation::ioas_unmap, EDEADLOCK, "a mediated device's driver does not let go of pages in the range",
     "stop that device first, then unmap"},

    {Operation::ioas_change_process, EOPNOTSUPP, "the reserved field is not zero",
     "zero the struct before use"},
    {Operation::ioas_change_process, EINVAL,
     "a mapping of this context is of addresses or a dma-buf, not of a file; or its process has ended",
     "map all memory by file (IOMMU_IOAS_MAP_FILE), and unmap dma-bufs before the change"},
    {Operation::ioas_change_process, EBUSY, "a mapping is being made or unmade at this moment",
     "finish all map and unmap calls first"},
    {Operation::ioas_change_process, ENOMEM,
     "RLIMIT_MEMLOCK of the new process does not allow the pages pinned so far",
     "raise its limit (`prlimit --memlock`) to what the old process has pinned, or twice that for one user"},

    {Operation::ioas_noiommu_get_pa, EPERM, "physical addresses are told to CAP_SYS_RAWIO only",
     "grant CAP_SYS_RAWIO"},
    {Operation::ioas_noiommu_get_pa, EOPNOTSUPP,
     "the kernel has no CONFIG_IOMMUFD_NOIOMMU, a flag is set, or no noiommu device is attached",
     "build with CONFIG_VFIO_NOIOMMU, and attach a device of /dev/vfio/devices/noiommu-*"},
    {Operation::ioas_noiommu_get_pa, EINVAL, "the length is zero, or the dma-buf mapped there is revoked",
     "ask for at least one byte of ordinary memory"},
    {Operation::ioas_noiommu_get_pa, EOVERFLOW, "the range wraps around at 2^64",
     "keep IOVA + length below 2^64"},
    {Operation::ioas_noiommu_get_pa, ENOENT, "the IOAS is unknown, or nothing is mapped at that IOVA",
     "map the memory first, and ask for an IOVA inside it"},
};

constexpr auto kRows = with_frame<kOwn>();

}  // namespace

constinit const std::span<const Row> kMappingRows = kRows;

}  // namespace iommufd::inline v0_1
