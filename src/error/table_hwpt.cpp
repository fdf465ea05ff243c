// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table's part for translation tables (hwpt), dirty tracking, page faults and vIOMMUs.
#include <cerrno>

#include "error/frame.hpp"

namespace iommufd::inline v0_1 {
namespace {

constexpr Row kOwn[] = {
    {Operation::hwpt_alloc, EOPNOTSUPP,
     "the IOMMU or its driver doesn't have that flag, data type or combination",
     "ask IOMMU_GET_HW_INFO what it has, or leave the flags out (virtio-iommu takes none)"},
    {Operation::hwpt_alloc, EINVAL,
     "pt_id is no IOAS, hwpt or vIOMMU that fits, or data_len is not the driver's exact struct size",
     "nest only on a hwpt made with NEST_PARENT on the same IOMMU, and pass the exact data_len"},
    {Operation::hwpt_alloc, ENOENT,
     "dev_id is no bound device of this context (an mdev has none), or fault_id is unknown",
     "pass the id that VFIO_DEVICE_BIND_IOMMUFD returned, and a queue of IOMMU_FAULT_QUEUE_ALLOC"},
    {Operation::hwpt_alloc, EADDRINUSE,
     "the IOAS has mappings or allowed ranges that this device's IOMMU can't reach",
     "unmap them first, or use another IOAS for this device"},
    {Operation::hwpt_alloc, EFAULT,
     "memory mapped into the IOAS before can't be pinned now: it is unmapped or lacks the rights",
     "keep memory in place while it is mapped, and check the pointer to the driver's data"},
    {Operation::hwpt_alloc, ENOMEM,
     "RLIMIT_MEMLOCK does not allow pinning what is mapped in the IOAS, or page tables found no memory",
     "raise the limit (`ulimit -l`, LimitMEMLOCK= of the service), or grant CAP_IPC_LOCK"},
    {Operation::hwpt_alloc, EIO, "the guest's stream table entry is not a legal one for an SMMUv3",
     "pass the two words of the STE with V and Cfg set as the guest wrote them"},
    {Operation::hwpt_alloc, ENODEV,
     "no IOMMU driver serves the device, or a dma-buf mapped in the IOAS is revoked",
     "turn the IOMMU on (firmware set-up, intel_iommu=on), or unmap the dma-buf"},

    {Operation::get_hw_info, EOPNOTSUPP,
     "the device runs without an IOMMU, or its driver lacks that type of information",
     "ask for the default type; of a noiommu device there is none"},
    {Operation::get_hw_info, ENOENT,
     "dev_id is no bound device of this context; an mdev has no IOMMU of its own",
     "pass the id that VFIO_DEVICE_BIND_IOMMUFD returned"},
    {Operation::get_hw_info, EFAULT, "the buffer at data_uptr is not writable for data_len bytes",
     "pass a buffer of that length, or length 0"},

    {Operation::hwpt_set_dirty_tracking, EOPNOTSUPP,
     "the hwpt was made without DIRTY_TRACKING, or a flag is unknown",
     "allocate it with DIRTY_TRACKING where IOMMU_GET_HW_INFO reports the capability"},
    {Operation::hwpt_set_dirty_tracking, ENOENT, "no paging hwpt of this context has that id",
     "pass the id of IOMMU_HWPT_ALLOC on an IOAS, not of a nested one"},

    {Operation::hwpt_get_dirty_bitmap, EOPNOTSUPP, "the IOMMU can't track dirty pages, or a flag is unknown",
     "use a hwpt made with DIRTY_TRACKING, and no flag but NO_CLEAR"},
    {Operation::hwpt_get_dirty_bitmap, ENOENT, "no paging hwpt of this context has that id",
     "pass the id of IOMMU_HWPT_ALLOC on an IOAS, not of a nested one"},
    {Operation::hwpt_get_dirty_bitmap, EINVAL,
     "the range is empty, or range and page_size are not aligned to each other",
     "pass a power of two as page_size, and a range that is a multiple of it and of the IOAS's alignment"},
    {Operation::hwpt_get_dirty_bitmap, EOVERFLOW, "the range wraps around at 2^64, or page_size does not fit",
     "keep IOVA + length below 2^64"},

    {Operation::hwpt_invalidate, EOPNOTSUPP,
     "the driver has no invalidation, or not with those flags or fields",
     "use the data type of the IOMMU that the nested hwpt is for, with reserved fields zero"},
    {Operation::hwpt_invalidate, EINVAL,
     "the id is no nested hwpt or vIOMMU, or the array's type, length or an entry is bad",
     "look at entry_num for the entries done, and send 1 to 2^19 entries of the type's size"},
    {Operation::hwpt_invalidate, ENOENT, "no object of this context has that id",
     "pass a nested hwpt or a vIOMMU"},
    {Operation::hwpt_invalidate, EIO, "the IOMMU refused a command of the guest",
     "look at entry_num for the entries done"},

    {Operation::fault_queue_alloc, EOPNOTSUPP, "a flag is set that this kernel does not know",
     "pass no flags: Linux 7.3 defines none"},
    {Operation::fault_queue_alloc, EMFILE,
     "this process has as many descriptors open as RLIMIT_NOFILE allows",
     "raise the limit (`ulimit -n`, LimitNOFILE= of the service), or close some"},
    {Operation::fault_queue_alloc, ENFILE, "the whole machine has as many files open as it may",
     "raise it with `sysctl fs.file-max`"},

    {Operation::fault_read, ESPIPE, "the length is no multiple of a fault record, or an offset was given",
     "read whole records of 40 bytes, without an offset"},
    {Operation::fault_read, EINVAL, "the buffer can't hold the first group of faults",
     "read with room for a whole group: all records up to the one with LAST_PAGE"},
    {Operation::fault_read, EFAULT, "the buffer is not writable memory; the faults stay in the queue",
     "pass a buffer of the stated length"},

    {Operation::fault_respond, ESPIPE, "the length is no multiple of a response, or an offset was given",
     "write whole responses of 8 bytes, without an offset"},
    {Operation::fault_respond, EINVAL,
     "no fault waits under that cookie, or the code is neither SUCCESS nor INVALID",
     "answer each group once; a detach has answered it already"},
    {Operation::fault_respond, EFAULT, "the buffer is not readable memory",
     "pass a buffer of the stated length"},

    {Operation::viommu_alloc, EOPNOTSUPP, "the device's IOMMU has no vIOMMU of that type, or a flag is set",
     "use the type of the hardware: ARM SMMUv3 or Tegra241 CMDQV; others have none in Linux 7.3"},
    {Operation::viommu_alloc, ENOENT, "dev_id is no bound device, or hwpt_id no paging hwpt, of this context",
     "pass the ids that BIND and IOMMU_HWPT_ALLOC returned"},
    {Operation::viommu_alloc, EINVAL,
     "the hwpt was made without NEST_PARENT, or the driver's data does not fit",
     "allocate the hwpt with NEST_PARENT, and pass the driver's struct size as data_len"},

    {Operation::vdevice_alloc, EOPNOTSUPP, "the vIOMMU's driver has no virtual devices",
     "do without one on this IOMMU"},
    {Operation::vdevice_alloc, ENOENT, "the vIOMMU or the device is unknown, or the device is being closed",
     "bind the device to the same context first, and keep its descriptor open"},
    {Operation::vdevice_alloc, EINVAL,
     "the device is behind another IOMMU than the vIOMMU, or the virtual id is too large",
     "make one vIOMMU for each physical IOMMU"},
    {Operation::vdevice_alloc, EEXIST,
     "the device has a vdevice already, or the virtual id is taken in this vIOMMU",
     "destroy the old vdevice, or use another virtual id"},

    {Operation::veventq_alloc, EOPNOTSUPP, "a flag or reserved field is set, or the type is zero",
     "pass the event type of the vIOMMU's hardware, and no flags"},
    {Operation::veventq_alloc, EINVAL, "the depth is zero or above 2^19", "choose a depth between"},
    {Operation::veventq_alloc, ENOENT, "no vIOMMU of this context has that id",
     "pass the id that IOMMU_VIOMMU_ALLOC returned"},
    {Operation::veventq_alloc, EEXIST, "the vIOMMU has a queue of that type already", "use that one"},
    {Operation::veventq_alloc, EMFILE, "this process has as many descriptors open as RLIMIT_NOFILE allows",
     "raise the limit (`ulimit -n`, LimitNOFILE= of the service), or close some"},
    {Operation::veventq_alloc, ENFILE, "the whole machine has as many files open as it may",
     "raise it with `sysctl fs.file-max`"},

    {Operation::vevent_read, EINVAL, "the buffer can't hold the next event",
     "read with room for a header and one event"},
    {Operation::vevent_read, ESPIPE, "an offset was given", "read without one"},
    {Operation::vevent_read, EFAULT, "the buffer is not writable memory; the event stays in the queue",
     "pass a buffer of the stated length"},
    {Operation::vevent_read, ENOMEM, "the kernel has no memory to report lost events", "read again"},

    {Operation::hw_queue_alloc, EOPNOTSUPP,
     "the vIOMMU has no hardware queues of that type, or a flag is set",
     "use a vIOMMU of type Tegra241 CMDQV, on a machine that has it"},
    {Operation::hw_queue_alloc, EINVAL,
     "length zero, an index past the last, or memory that isn't aligned to its size",
     "pass a power of two as length, aligned to itself, at a page-aligned mapping"},
    {Operation::hw_queue_alloc, EOVERFLOW, "the range wraps around at 2^64", "keep IOVA + length below 2^64"},
    {Operation::hw_queue_alloc, ERANGE, "the range has more pages than the kernel can count",
     "make the queue smaller"},
    {Operation::hw_queue_alloc, ENOENT, "the vIOMMU is unknown, or part of the queue's memory is not mapped",
     "map the queue's memory into the parent hwpt's IOAS first"},
    {Operation::hw_queue_alloc, EPERM, "the queue's memory is mapped without READABLE",
     "map it READABLE and WRITEABLE"},
    {Operation::hw_queue_alloc, EFAULT, "the queue's memory is not physically contiguous",
     "back it with one huge page (memfd with MFD_HUGETLB)"},
    {Operation::hw_queue_alloc, EEXIST, "the vIOMMU has a queue at that index already",
     "destroy it, or use the next index"},
    {Operation::hw_queue_alloc, EIO,
     "the queue at the index before does not exist, or the hardware refused it",
     "allocate from index 0 upwards, and destroy downwards"},

    {Operation::iommufd_mmap, ENXIO,
     "offset and length are not exactly those that the driver gave for this vIOMMU",
     "use both as IOMMU_VIOMMU_ALLOC wrote them, while the vIOMMU exists"},
    {Operation::iommufd_mmap, EINVAL, "the mapping is private, or its length no whole number of pages",
     "map with MAP_SHARED"},
    {Operation::iommufd_mmap, EPERM, "hardware pages can't be mapped executable", "leave PROT_EXEC out"},
};

constexpr auto kRows = with_frame<kOwn>();

}  // namespace

constinit const std::span<const Row> kHwptRows = kRows;

}  // namespace iommufd::inline v0_1
