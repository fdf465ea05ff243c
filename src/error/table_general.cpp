// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table's last part: what an errno means where the operation has no row of its own for it.
#include <cerrno>

#include "error/table.hpp"

namespace iommufd::inline v0_1 {
namespace {

constexpr Row kRows[] = {
    {Operation::none, EPERM,
     "the kernel wants a capability that this process lacks, or a sandbox forbids the call",
     "compare the capabilities in /proc/self/status, or let a privileged process do it"},
    {Operation::none, ENOENT, "there is nothing of that name or id", "check the name or id"},
    {Operation::none, EINTR, "a signal came first", "try again"},
    {Operation::none, EIO, "the device or its driver reported a failure", "look at `dmesg | tail`"},
    {Operation::none, ENXIO, "no device answers there",
     "check that the device is present and its driver loaded"},
    {Operation::none, E2BIG, "the argument is larger than this kernel takes",
     "ask for less, or boot a newer Linux"},
    {Operation::none, EBADF, "the descriptor is not open in this process",
     "keep it open while it is in use, and check the number that was passed"},
    {Operation::none, EAGAIN, "it can't be done at this moment", "wait with poll(), or try again"},
    {Operation::none, ENOMEM, "memory ran out, or a limit on it was reached",
     "free memory, or raise memory.max of the cgroup and RLIMIT_MEMLOCK"},
    {Operation::none, EACCES, "the file's owner, group and mode don't let this user do that",
     "change them, or let a privileged process do it"},
    {Operation::none, EFAULT, "an address in the call is not mapped, or not with those rights",
     "pass pointers to mapped memory"},
    {Operation::none, EBUSY, "something else is using it", "end the other use first"},
    {Operation::none, EEXIST, "it is there already",
     "remove the old one first, or take another name or range"},
    {Operation::none, EXDEV, "the two are not on the same device", "keep both on one device"},
    {Operation::none, ENODEV, "the device is gone, or can't do this", "look at `dmesg | tail`"},
    {Operation::none, ENOTDIR, "a part of the path is not a folder", "correct the path"},
    {Operation::none, EISDIR, "the path is a folder", "give the file's own path"},
    {Operation::none, EINVAL, "the kernel understood the call and refused a value in it",
     "check the arguments against the operation's documentation"},
    {Operation::none, ENFILE, "the whole machine has as many files open as it may",
     "raise it with `sysctl fs.file-max`"},
    {Operation::none, EMFILE, "this process has as many descriptors open as RLIMIT_NOFILE allows",
     "raise the limit (`ulimit -n`, LimitNOFILE= of the service), or close some"},
    {Operation::none, ENOTTY, "the descriptor is of another kind of file, or this kernel lacks the call",
     "check what the descriptor is (`ls -l /proc/self/fd`), and the kernel's version"},
    {Operation::none, EFBIG, "the file would become larger than it may", "raise the limit (`ulimit -f`)"},
    {Operation::none, ENOSPC, "there is no room left for it", "free some"},
    {Operation::none, ESPIPE, "this file has no positions to read or write at",
     "use read and write without an offset"},
    {Operation::none, EROFS, "the file system is read-only", "choose a writable one"},
    {Operation::none, EPIPE, "the other end has closed", "open the connection again"},
    {Operation::none, ERANGE, "a number is outside what the kernel can represent", "use smaller values"},
    {Operation::none, EDEADLOCK, "the call would wait for itself", "let go of what the caller holds first"},
    {Operation::none, ENAMETOOLONG, "the path is too long", "use a shorter one"},
    {Operation::none, ENOSYS, "this kernel has no such system call, or a sandbox hides it",
     "boot a newer Linux, or allow the call in the seccomp filter"},
    {Operation::none, ELOOP, "the path has too many symbolic links", "give the file's own path"},
    {Operation::none, ENOMSG, "no message of the wanted kind is there", "wait, or change the device's state"},
    {Operation::none, EOVERFLOW, "a range wraps around, or a value does not fit its type",
     "keep start + length below 2^64"},
    {Operation::none, EBADFD, "the descriptor is open, but is not of the kind that is needed",
     "check what it is: `ls -l /proc/self/fd`"},
    {Operation::none, EMSGSIZE, "the buffer is too small for the answer", "call again with a larger one"},
    {Operation::none, EOPNOTSUPP, "the kernel, the driver or the hardware does not support it",
     "do without, or boot a newer Linux"},
    {Operation::none, EADDRINUSE, "the range is in use or reserved", "choose another range"},
    {Operation::none, ENOBUFS, "an index is past the end, or no buffer is left", "check the index"},
    {Operation::none, ETIMEDOUT, "the device did not answer in time",
     "reset the device, and look at `dmesg | tail`"},
    {Operation::none, ECANCELED, "the caller cancelled it", "call again to go on"},
    {Operation::none, EHWPOISON, "a page of memory has a hardware error", "use other memory"},
};

}  // namespace

constinit const std::span<const Row> kGeneralRows = kRows;

}  // namespace iommufd::inline v0_1
