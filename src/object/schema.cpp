// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The table of types. A new type is a row here, and a row of kinds.cpp that says how it is made.
#include "iommufd/object/schema.hpp"

#include <algorithm>
#include <iterator>

namespace iommufd::inline v0_1::object {
namespace {

using enum ValueKind;
using enum Use;

constexpr std::string_view kIommufd[] = {"iommufd"};
constexpr std::string_view kSpace[] = {"dma-space"};
constexpr std::string_view kMemory[] = {"memory-backend-memfd", "memory-backend-file", "memory-backend-ram"};
constexpr std::string_view kPolicies[] = {"default", "preferred", "bind", "interleave"};

constexpr PropertyInfo kIommufdProperties[] = {
    {.key = "fd",
     .kind = descriptor,
     .doc =
         "a descriptor of /dev/iommu that somebody opened; without it the node is opened for the first user"},
    {.key = "open", .kind = boolean, .use = state, .doc = "whether the node is open"},
    {.key = "users", .use = state, .doc = "the devices that use the object"},
    {.key = "references", .use = state, .doc = "the spaces that stand on it"},
};

constexpr PropertyInfo kMemorySize{
    .key = "size", .kind = size, .use = required, .doc = "how much memory, rounded up to whole pages"};
constexpr PropertyInfo kHugetlb{
    .key = "hugetlb", .kind = boolean, .standard = "off", .doc = "whether it consists of huge pages"};
constexpr PropertyInfo kHugetlbSize{.key = "hugetlbsize",
                                    .kind = size,
                                    .doc = "the size of the huge pages; without it the machine's standard"};
constexpr PropertyInfo kPrealloc{.key = "prealloc",
                                 .kind = boolean,
                                 .standard = "off",
                                 .doc = "whether every page is touched at creation"};
constexpr PropertyInfo kPreallocThreads{.key = "prealloc-threads",
                                        .kind = number,
                                        .standard = "1",
                                        .doc = "how many threads touch the pages",
                                        .most = 1024};
constexpr PropertyInfo kHostNodes{
    .key = "host-nodes", .kind = nodes, .doc = "the NUMA nodes that policy= speaks of", .most = 1023};
constexpr PropertyInfo kPolicy{.key = "policy",
                               .kind = choice,
                               .standard = "default",
                               .doc = "from which NUMA nodes the pages come",
                               .words = kPolicies};
constexpr PropertyInfo kAddress{.key = "address", .kind = address, .use = state, .doc = "where it is mapped"};

constexpr PropertyInfo kMemfdProperties[] = {
    kMemorySize,
    {.key = "share",
     .kind = boolean,
     .standard = "on",
     .doc = "whether it is shared memory with a descriptor; off is the same as memory-backend-ram"},
    kHugetlb,
    kHugetlbSize,
    kPrealloc,
    kPreallocThreads,
    kHostNodes,
    kPolicy,
    kAddress,
};

constexpr PropertyInfo kFileProperties[] = {
    {.key = "mem-path",
     .kind = path,
     .use = required,
     .doc = "an existing file, on hugetlbfs, tmpfs or a disk, that is long enough"},
    kMemorySize,
    {.key = "share", .kind = boolean, .standard = "off", .doc = "whether changes reach the file"},
    {.key = "offset", .kind = size, .standard = "0", .doc = "where in the file the memory starts"},
    {.key = "readonly",
     .kind = boolean,
     .standard = "off",
     .doc = "whether the file is opened for reading only"},
    {.key = "hugetlb", .kind = boolean, .standard = "off", .doc = "whether the file must be on hugetlbfs"},
    {.key = "hugetlbsize", .kind = size, .doc = "the size that its huge pages must have"},
    kPrealloc,
    kPreallocThreads,
    kHostNodes,
    kPolicy,
    kAddress,
};

constexpr PropertyInfo kRamProperties[] = {
    kMemorySize,
    {.key = "share",
     .kind = boolean,
     .standard = "off",
     .doc = "whether it is shared memory with a descriptor, the same as memory-backend-memfd"},
    kHugetlb,
    kHugetlbSize,
    kPrealloc,
    kPreallocThreads,
    kHostNodes,
    kPolicy,
    kAddress,
};

constexpr PropertyInfo kSpaceProperties[] = {
    {.key = "iommufd",
     .kind = reference,
     .doc = "through which VFIO devices are attached; without it the space takes vhost-vdpa devices only",
     .words = kIommufd},
    {.key = "faults",
     .kind = boolean,
     .standard = "off",
     .doc = "whether its VFIO devices ask for pages that aren't mapped (PRI): told, and answered that there "
            "is none"},
    {.key = "ioas", .kind = number, .use = state, .doc = "the kernel's id, while a VFIO device is attached"},
    {.key = "devices", .use = state, .doc = "the devices that are attached"},
    {.key = "sinks", .use = state, .doc = "where its mappings go"},
    {.key = "mappings", .kind = number, .use = state, .doc = "how many ranges are mapped or planned"},
};

constexpr PropertyInfo kMappingProperties[] = {
    {.key = "space", .kind = reference, .use = required, .doc = "where it is mapped", .words = kSpace},
    {.key = "memdev", .kind = reference, .use = required, .doc = "what is mapped", .words = kMemory},
    {.key = "iova", .kind = address, .doc = "where devices see it; without it the space chooses"},
    {.key = "offset", .kind = size, .standard = "0", .doc = "where in the memory it starts"},
    {.key = "size", .kind = size, .doc = "how much of the memory; without it all that follows offset="},
    {.key = "readonly", .kind = boolean, .standard = "off", .doc = "whether devices may only read it"},
    {.key = "granule",
     .kind = size,
     .standard = "0",
     .doc = "may be unmapped in multiples of this, through the library; 0: only whole"},
    {.key = "state",
     .use = state,
     .doc = "planned (no device yet), mapped, busy, or stuck (unmapping failed)"},
};

constexpr PropertyInfo kFdServerProperties[] = {
    {.key = "path",
     .kind = path,
     .use = required,
     .doc = "where its socket listens, for whoever the policy has"},
    {.key = "iommufd",
     .kind = reference,
     .use = required,
     .doc = "what its clients get: the same one as this process has",
     .words = kIommufd},
    {.key = "config",
     .kind = path,
     .doc = "the policy, as `iommufd serve` reads it; only a tenant that is trusted gets the iommufd"},
    {.key = "uid",
     .kind = number,
     .doc =
         "instead of config=: processes of this user get the iommufd, and are trusted with all that is in it",
     .most = ~std::uint32_t{0} - 1},
    {.key = "clients", .kind = number, .use = state, .doc = "how many are connected"},
};

constexpr std::string_view kOneVfioDevice[] = {"host", "sysfsdev", "fd"};
constexpr PropertyInfo kVfioProperties[] = {
    {.key = "host", .kind = pci_address, .doc = "the device's PCI address"},
    {.key = "sysfsdev", .kind = path, .doc = "the device's folder under /sys, also that of an mdev"},
    {.key = "fd", .kind = descriptor, .doc = "a descriptor of /dev/vfio/devices/vfioN that somebody opened"},
    {.key = "iommufd",
     .kind = reference,
     .use = required,
     .doc = "what the device is bound to",
     .words = kIommufd},
    {.key = "space", .kind = reference, .doc = "what the device is attached to", .words = kSpace},
    {.key = "vf-token", .kind = uuid, .doc = "the secret that the owner of the device's PF has set"},
    {.key = "pasid",
     .kind = number,
     .doc = "attach with this PASID only, where the device has them",
     .most = (1U << 20) - 1},
    {.key = "name", .use = state, .doc = "the device as errors call it"},
};

constexpr std::string_view kOneVdpaDevice[] = {"vhostdev", "vhostfd"};
constexpr PropertyInfo kVdpaProperties[] = {
    {.key = "vhostdev", .kind = path, .doc = "the device's node, /dev/vhost-vdpa-N"},
    {.key = "vhostfd", .kind = descriptor, .doc = "a descriptor of such a node that somebody opened"},
    {.key = "iommufd",
     .kind = reference,
     .doc = "counts the device as a user; vDPA itself does not go through it",
     .words = kIommufd},
    {.key = "space", .kind = reference, .doc = "what the device is attached to", .words = kSpace},
    {.key = "group",
     .kind = number,
     .doc = "the group of queues that asid= is for; without it all",
     .most = ~std::uint32_t{0}},
    {.key = "asid",
     .kind = number,
     .standard = "0",
     .doc = "which of the device's address spaces is mapped into",
     .most = ~std::uint32_t{0}},
    {.key = "name", .use = state, .doc = "the device as errors call it"},
    {.key = "device-id",
     .kind = number,
     .use = state,
     .doc = "virtio's number of its kind: 1 network, 2 block"},
    {.key = "uses-addresses",
     .kind = boolean,
     .use = state,
     .doc = "whether it reaches memory by this process's addresses; else it pins pages"},
};

constexpr TypeInfo kTypes[] = {
    {.name = "iommufd",
     .option = Option::object,
     .doc = "controls DMA mapping through /dev/iommu; frontends connect to it by its id",
     .properties = kIommufdProperties},
    {.name = "memory-backend-memfd",
     .option = Option::object,
     .doc = "shared memory with a descriptor",
     .properties = kMemfdProperties},
    {.name = "memory-backend-file",
     .option = Option::object,
     .doc = "memory of a file",
     .properties = kFileProperties},
    {.name = "memory-backend-ram",
     .option = Option::object,
     .doc = "private memory of this process",
     .properties = kRamProperties},
    {.name = "dma-space",
     .option = Option::object,
     .doc = "an I/O address space that several devices share",
     .properties = kSpaceProperties},
    {.name = "dma-mapping",
     .option = Option::object,
     .doc = "maps memory in a space for as long as it exists",
     .properties = kMappingProperties},
    {.name = "fd-server",
     .option = Option::object,
     .doc = "hands the iommufd to other processes through a socket, under a policy",
     .properties = kFdServerProperties},
    {.name = "vfio-pci",
     .option = Option::device,
     .doc = "a device that is bound to the driver vfio-pci, or another one of VFIO",
     .properties = kVfioProperties,
     .one_of = kOneVfioDevice},
    {.name = "vhost-vdpa",
     .option = Option::device,
     .doc = "a vDPA device that is bound to the driver vhost_vdpa",
     .properties = kVdpaProperties,
     .one_of = kOneVdpaDevice},
};

}  // namespace

std::string_view name(Option option) noexcept { return option == Option::object ? "-object" : "-device"; }

std::span<const TypeInfo> types() noexcept { return kTypes; }

const TypeInfo* find_type(std::string_view name) noexcept {
    const auto* const found = std::ranges::find(kTypes, name, &TypeInfo::name);
    return found == std::end(kTypes) ? nullptr : found;
}

const PropertyInfo* TypeInfo::find(std::string_view key) const noexcept {
    const auto found = std::ranges::find(properties, key, &PropertyInfo::key);
    return found == properties.end() ? nullptr : &*found;
}

}  // namespace iommufd::inline v0_1::object
