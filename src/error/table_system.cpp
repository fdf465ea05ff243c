// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table's part for plain system calls and for making memory.
#include <cerrno>

#include "error/table.hpp"

namespace iommufd::inline v0_1 {
namespace {

constexpr Row kRows[] = {
    // open of /dev/iommu, and of any other path that has no operation of its own
    {Operation::open, ENOENT,
     "there is no such node; of /dev/iommu: CONFIG_IOMMUFD is off or its module not loaded",
     "run `modprobe iommufd` (Linux 6.2 or later), or pass the node into this container"},
    {Operation::open, EACCES, "the node's owner, group and mode don't let this user open it",
     "add a udev rule that sets its group and mode 0660, or have a privileged process open it and pass fd="},
    {Operation::open, EPERM, "the device cgroup or the sandbox of this process forbids the node",
     "allow it there (DeviceAllow=/dev/iommu rw, or --device=/dev/iommu), or pass it by fd="},
    {Operation::open, ENXIO, "the node exists, but no driver answers for its number",
     "load the driver with `modprobe iommufd`, or make the node anew after it"},
    {Operation::open, ENODEV, "the node exists, but the driver behind it is not loaded or is going away",
     "run `modprobe iommufd`, and look at `dmesg | tail`"},
    {Operation::open, EBUSY, "the node is open elsewhere, and its driver allows one user at a time",
     "end the other user: `fuser -v` with the path names it"},
    {Operation::open, ENOMEM, "the kernel has no memory for another context",
     "free memory, or raise memory.max of the cgroup"},
    {Operation::open, EMFILE, "this process has as many descriptors open as RLIMIT_NOFILE allows",
     "raise the limit (`ulimit -n`, LimitNOFILE= of the service), or close some"},
    {Operation::open, ENFILE, "the whole machine has as many files open as it may",
     "raise it with `sysctl fs.file-max`"},
    {Operation::open, EISDIR, "the path is a folder, not a device node", "give the node's own path"},
    {Operation::open, ENOTDIR, "a part of the path is not a folder", "correct the path"},
    {Operation::open, ELOOP, "the path has too many symbolic links", "give the node's own path"},
    {Operation::open, EINTR, "a signal came before the driver had opened the node", "try again"},

    {Operation::close, EBADF, "the descriptor is not open, so it was closed twice or by somebody else",
     "give each descriptor one owner"},
    {Operation::close, EINTR, "a signal came while closing; Linux has closed the descriptor all the same",
     "do not close it again"},
    {Operation::close, EIO, "the last write-back failed; Linux has closed the descriptor all the same",
     "look at `dmesg | tail`"},

    {Operation::dup, EBADF, "the descriptor is not open in this process",
     "check the number that fd= gives: the parent must pass it without close-on-exec"},
    {Operation::dup, EMFILE, "this process has as many descriptors open as RLIMIT_NOFILE allows",
     "raise the limit (`ulimit -n`, LimitNOFILE= of the service), or close some"},
    {Operation::dup, EINVAL, "RLIMIT_NOFILE is below the number asked for", "raise the limit (`ulimit -n`)"},

    {Operation::mmap, EINVAL, "length is zero, or address, length or offset is not aligned to the page size",
     "align all three to the page size, or to the huge page size of the file"},
    {Operation::mmap, ENOMEM, "no address space, commit limit, mapping count or huge page is left for it",
     "look at RLIMIT_AS, vm.max_map_count and, for huge pages, HugePages_Free in /proc/meminfo"},
    {Operation::mmap, EACCES, "the file is not open for the access that the mapping asks for",
     "open it for reading and writing, or map it read-only"},
    {Operation::mmap, EPERM, "a seal of the memfd or a security policy forbids such a mapping",
     "map it without PROT_WRITE, or make the file without that seal"},
    {Operation::mmap, EBADF, "the file's descriptor is not open", "keep the file open until it is mapped"},
    {Operation::mmap, ENODEV, "this kind of file can't be mapped",
     "use a memfd, or a file on tmpfs or hugetlbfs"},
    {Operation::mmap, EAGAIN, "RLIMIT_MEMLOCK does not allow that much locked memory",
     "raise the limit (`ulimit -l`, LimitMEMLOCK= of the service)"},
    {Operation::mmap, EOVERFLOW, "the offset plus the length is larger than a file can be",
     "map a range inside the file"},
    {Operation::mmap, EEXIST, "something is mapped at the fixed address already",
     "let the kernel choose the address, or unmap what is there"},

    {Operation::munmap, EINVAL, "the address or length is not aligned to the size of the mapping's pages",
     "unmap exactly what mmap returned"},
    {Operation::munmap, ENOMEM, "splitting the mapping would make more of them than vm.max_map_count",
     "unmap it whole, or raise vm.max_map_count"},

    {Operation::read, EINVAL,
     "this kind of file can't be read, or not with this length; /dev/iommu has no read",
     "read the fault queue's or event queue's own descriptor"},
    {Operation::read, EBADF, "the descriptor is not open for reading", "keep it open while it is in use"},
    {Operation::read, EAGAIN, "nothing is there to read yet", "wait with poll() first"},
    {Operation::read, EINTR, "a signal came before anything was read", "try again"},
    {Operation::read, EFAULT, "the buffer is not writable memory", "pass a buffer of the stated length"},
    {Operation::read, EIO, "the device or file system could not deliver the data", "look at `dmesg | tail`"},
    {Operation::read, EISDIR, "the descriptor is a folder", "give the file's own path"},
    {Operation::read, ENODEV, "the device behind the descriptor is gone", "open the device again"},
    {Operation::read, ENOMSG, "the migration stream has nothing more until the device's state changes",
     "set the next migration state, STOP_COPY after PRE_COPY, and read on"},

    {Operation::write, EINVAL,
     "this kind of file can't be written, or not with this length; /dev/iommu has no write",
     "write to the fault queue's own descriptor, in whole records"},
    {Operation::write, EBADF, "the descriptor is not open for writing", "open the file for writing"},
    {Operation::write, EAGAIN, "there is no room to write yet", "wait with poll() first"},
    {Operation::write, EINTR, "a signal came before anything was written", "try again"},
    {Operation::write, EFAULT, "the buffer is not readable memory", "pass a buffer of the stated length"},
    {Operation::write, EIO, "the device or file system could not take the data", "look at `dmesg | tail`"},
    {Operation::write, ENOSPC, "the file system is full", "free space, or write elsewhere"},
    {Operation::write, EPIPE, "the other end has closed", "open the connection again"},

    // memfd_create, ftruncate, fallocate, and opening a file for shared memory
    {Operation::memory_create, ENOMEM, "no memory or not enough free huge pages of that size",
     "look at HugePages_Free in /proc/meminfo; `sysctl vm.nr_hugepages=N` makes more"},
    {Operation::memory_create, EINVAL,
     "the size is zero or no multiple of the page size, or a seal forbids it",
     "give a whole number of pages, of the huge page size with hugetlb=on"},
    {Operation::memory_create, EMFILE, "this process has as many descriptors open as RLIMIT_NOFILE allows",
     "raise the limit (`ulimit -n`, LimitNOFILE= of the service), or close some"},
    {Operation::memory_create, ENFILE, "the whole machine has as many files open as it may",
     "raise it with `sysctl fs.file-max`"},
    {Operation::memory_create, EPERM, "this user may not make huge page memory, or a seal forbids the change",
     "set vm.hugetlb_shm_group to a group of this user, or grant CAP_IPC_LOCK"},
    {Operation::memory_create, ENODEV, "the kernel has no huge pages of that size",
     "choose a size of `ls /sys/kernel/mm/hugepages`"},
    {Operation::memory_create, ENOSPC, "the file system that holds the memory is full",
     "enlarge it (`mount -o remount,size=...`), or ask for less"},
    {Operation::memory_create, EFBIG, "the size is above RLIMIT_FSIZE or what the file system can hold",
     "raise the limit (`ulimit -f`), or ask for less"},
    {Operation::memory_create, EACCES,
     "this user may not open or make the file, or vm.memfd_noexec forbids it",
     "choose a path that this user may write to"},
    {Operation::memory_create, ENOENT, "the folder for the memory's file does not exist",
     "mount hugetlbfs or tmpfs there, or correct the path"},
    {Operation::memory_create, ENOSYS, "this kernel was built without memfd_create",
     "enable CONFIG_MEMFD_CREATE, or use a file on tmpfs"},

    {Operation::prefault, EINVAL,
     "the kernel lacks MADV_POPULATE_WRITE, or the memory is not writable that way",
     "boot Linux 5.14 or later, and prefault writable memory that is no device's"},
    {Operation::prefault, EFAULT, "a page could not be made: past the file's end, or no huge page was free",
     "make the file as large as the mapping, and look at HugePages_Free in /proc/meminfo"},
    {Operation::prefault, ENOMEM, "memory ran out, or part of the range is not mapped",
     "free memory, raise memory.max of the cgroup, or ask for less"},
    {Operation::prefault, EHWPOISON, "the range has a page with a hardware memory error",
     "look at `dmesg | grep -i mce`, and use other memory"},
    {Operation::prefault, EINTR, "a signal came before all pages were made", "try again"},
};

}  // namespace

constinit const std::span<const Row> kSystemCallRows = kRows;

}  // namespace iommufd::inline v0_1
