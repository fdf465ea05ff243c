// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table's part for vhost-vdpa devices and the IOTLB messages written to them.
#include <cerrno>

#include "error/frame.hpp"

namespace iommufd::inline v0_1 {
namespace {

// ENOTSUPP, which the kernel keeps for itself and vhost-vdpa lets out. It has no name in <cerrno>.
constexpr int kNotSupported = 524;

constexpr Row kOwn[] = {
    {Operation::vdpa_open, EBUSY, "the device is open already; it takes one user at a time",
     "end the other user: `fuser -v` with the node names it"},
    {Operation::vdpa_open, ENOENT,
     "there is no such node: the vDPA device is missing or on another bus driver",
     "run `modprobe vhost-vdpa` and `vdpa dev show`, and bind the device to vhost_vdpa"},
    {Operation::vdpa_open, EACCES, "the node's owner, group and mode don't let this user open it",
     "add a udev rule for /dev/vhost-vdpa-*, or have a privileged process open it and pass vhostfd="},
    {Operation::vdpa_open, EPERM, "the device cgroup or the sandbox of this process forbids the node",
     "allow it there (DeviceAllow=, --device=), or pass it by vhostfd="},
    {Operation::vdpa_open, ENXIO, "no device has the node's number any more", "look at `vdpa dev show`"},
    {Operation::vdpa_open, ENODEV, "the device's parent has no IOMMU that can map for it",
     "turn the IOMMU on (firmware set-up, intel_iommu=on)"},
    {Operation::vdpa_open, kNotSupported, "the IOMMU above the device is not cache-coherent",
     "use a device behind a coherent IOMMU, or one that translates for itself"},
    {Operation::vdpa_open, ENOMEM, "the kernel has no memory for another open device",
     "free memory, or raise memory.max of the cgroup"},

    {Operation::vdpa_set_owner, EBUSY, "the open device has an owner already",
     "call it once, from the process that maps"},
    {Operation::vdpa_set_owner, ENOMEM, "the kernel has no memory for the device's queues",
     "free memory, or raise memory.max of the cgroup"},

    {Operation::vdpa_features, EBUSY, "the features are agreed on already (FEATURES_OK is set)",
     "reset the device first: status 0"},
    {Operation::vdpa_features, EINVAL, "the device refuses that set of features",
     "set a subset of VHOST_GET_FEATURES that has ACCESS_PLATFORM"},

    {Operation::vdpa_backend_features, EOPNOTSUPP,
     "the device or this kernel lacks one of the backend features",
     "acknowledge a subset of VHOST_GET_BACKEND_FEATURES"},
    {Operation::vdpa_backend_features, EINVAL, "DESC_ASID was set without IOTLB_ASID", "set both"},

    {Operation::vdpa_status, EINVAL, "status bits can be added, and taken away only all at once",
     "keep the bits that are set, or reset with status 0"},
    {Operation::vdpa_status, EIO, "the device did not finish its reset", "look at `dmesg | tail`"},

    {Operation::vdpa_config, EINVAL, "the range is empty or goes past the device's config space",
     "stay below VHOST_VDPA_GET_CONFIG_SIZE"},
    {Operation::vdpa_config, ENOMEM, "the kernel has no memory for the copy", "read or write less at once"},
    {Operation::vdpa_config, EBADF, "the eventfd for config changes is not open",
     "pass an open eventfd, or -1"},

    {Operation::vdpa_vring, EINVAL,
     "the size is no power of two up to VHOST_VDPA_GET_VRING_NUM, or the device runs and is not suspended",
     "set up the queue before DRIVER_OK, with a size that it takes"},
    {Operation::vdpa_vring, ENOBUFS, "the device has no queue of that index",
     "stay below VHOST_VDPA_GET_VQS_COUNT"},
    {Operation::vdpa_vring, EBUSY, "the queue is running", "reset the device first: status 0"},
    {Operation::vdpa_vring, EBADF, "the eventfd for kick, call or error is not open",
     "pass an open eventfd, or -1"},
    {Operation::vdpa_vring, EPERM, "this process is not the device's owner",
     "call VHOST_SET_OWNER in the process that sets up the queues; a child of the owner is not it"},
    {Operation::vdpa_vring, EOPNOTSUPP, "the device can't say or change that of a queue", "do without"},
    {Operation::vdpa_vring, EIO, "the device named a group that it doesn't have",
     "report it to the driver's maintainers"},

    {Operation::vdpa_address_space, EINVAL, "there is no such group or no such address space",
     "stay below VHOST_VDPA_GET_GROUP_NUM and VHOST_VDPA_GET_AS_NUM"},
    {Operation::vdpa_address_space, ENOBUFS, "the index is above the device's number of queues",
     "stay below VHOST_VDPA_GET_VQS_COUNT"},
    {Operation::vdpa_address_space, EBUSY, "the device runs already (DRIVER_OK)",
     "assign groups before DRIVER_OK"},
    {Operation::vdpa_address_space, EOPNOTSUPP, "the device has one address space only", "leave asid= out"},
    {Operation::vdpa_address_space, EPERM, "this process is not the device's owner",
     "call VHOST_SET_OWNER in the process that sets up the queues"},
    {Operation::vdpa_address_space, EIO, "the device named a group that it doesn't have",
     "report it to the driver's maintainers"},

    {Operation::vdpa_suspend, EOPNOTSUPP, "the device can't be suspended or resumed",
     "stop it with a reset: status 0"},

    {Operation::vdpa_iova_range, EFAULT, "the kernel could not write the answer", "pass writable memory"},

    // Whatever the handler found, the write says EFAULT: the likely causes stand together.
    {Operation::iotlb_update, EFAULT,
     "an overlap with an older mapping, an IOVA outside the device's range, RLIMIT_MEMLOCK, or not the "
     "owner's process",
     "check the ranges against VHOST_VDPA_GET_IOVA_RANGE, raise `ulimit -l` for all pinned pages, and map in "
     "the owner"},
    {Operation::iotlb_update, EINVAL, "the size is zero, or the message short or of an unknown type",
     "write a whole vhost_msg_v2 after acknowledging IOTLB_MSG_V2"},
    {Operation::iotlb_invalidate, EFAULT,
     "the address space is unknown, in another batch, or not the owner's process",
     "invalidate in the process that called VHOST_SET_OWNER, in an address space that has mappings"},
    {Operation::iotlb_invalidate, EINVAL, "the message is short or of an unknown type",
     "write a whole vhost_msg_v2 after acknowledging IOTLB_MSG_V2"},
    {Operation::iotlb_batch, EFAULT,
     "the address space is unknown, in another batch, or not the owner's process",
     "begin and end a batch in the process that called VHOST_SET_OWNER, for one address space at a time"},
    {Operation::iotlb_batch, EINVAL, "the message is short or of an unknown type",
     "acknowledge IOTLB_BATCH (Linux 5.9), and write a whole vhost_msg_v2"},
};

constexpr auto kRows = with_frame<kOwn>();

}  // namespace

constinit const std::span<const Row> kVdpaRows = kRows;

}  // namespace iommufd::inline v0_1
