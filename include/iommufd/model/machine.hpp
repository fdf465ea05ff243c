// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A machine with /dev/iommu and devices, played in this process: no privilege, no module, no hardware.
//
//     model::Machine machine;                        // an edu device, an NVMe controller, a virtio-blk device
//     auto backend = Backend::on(machine.kernel());  // the same library, the same ioctls
//
//     program --open, ioctl--> kernel() --> /dev/iommu            context: IOASes, hwpts, areas, pins
//                                       --> /dev/vfio/devices/*   edu, NVMe: BARs, config space, MSI --+
//                                       --> /dev/vhost-vdpa-*     virtio-blk: rings --DMA--> IOTLB     |
//                                       --> /sys/...              how programs find them               |
//                                                            I/O page table of the attached hwpt <-----+
//
// It behaves as Linux 7.3 does, errno by errno. Devices really move bytes, through page tables that
// check permissions; what isn't mapped is blocked and recorded, and nothing else is ever touched.
// Every other path, and every descriptor that the model didn't make, is the host's own.
//
// What differs from Linux, because this is one process without privilege:
// - Close, dup and fcntl go through the kernel's calls: a descriptor closed with plain close(2) counts as
//   open until the machine goes. A plain dup is known from its first use through the kernel on.
// - Pages can't be pinned. Memory is checked and populated when Linux would pin it; if the program unmaps
//   it while it is mapped for DMA, DMA to it is blocked from then on. A file keeps its memory until unmap.
//   So that this costs no kernel call, a machine sets handlers of SIGSEGV and SIGBUS, once (on x86-64). They hand
//   on all faults that aren't its own; a program that sets its own must do so before its first machine.
// - A file that is sealed against writing is mapped, but the device's writes to it are blocked.
// - A device is as fast as the call that starts it: edu and NVMe have done their DMA when the write returns,
//   unless it waits for a page that it asked for.
// - A hardware queue's memory counts as contiguous where its addresses are; in Linux that is luck.
// - The mock's limit of memory for batches is taken and has no effect.
// - vhost-vdpa after a reset without IOTLB_PERSIST: the device reaches nothing (vdpasim: any address).
//
// It needs Linux 5.14 (MADV_POPULATE_WRITE) and process_vm_readv(2), which old containers forbid.
//
// Threads: every call may run at any time. One thread of the machine serves the kicks of vDPA devices, and one looks at each
// BAR that is mapped and polled; they take no signals and end with the machine. A descriptor that is still open then stands for nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::sys {
class Kernel;
}

namespace iommufd::inline v0_1::model {

enum class DeviceKind : std::uint8_t {
    edu,       // QEMU's educational PCI device, bound to vfio-pci
    nvme,      // an NVMe controller with one namespace, bound to vfio-pci
    vdpa_blk,  // a virtio block device, bound to vhost-vdpa
    ivshmem,   // memory in a BAR (QEMU's ivshmem-plain), bound to vfio-pci
};

// Another device in a device's IOMMU group: bound to a driver of the host's, it keeps the group from programs.
struct Sibling {
    std::string address;      // of PCI
    std::string driver = {};  // none, vfio-pci and pcieport do no harm
};

struct DeviceDescription {
    DeviceKind kind = DeviceKind::edu;
    std::string name = {};                  // its PCI address or vDPA name; empty: the next free one
    std::uint64_t disk_size = 64ULL << 20;  // nvme, vdpa-blk: a multiple of 512
    unsigned dma_bits = 28;                 // edu: addresses wider than that are cut off
    bool page_requests = false;          // edu: asks the page table's fault queue for pages (PRI), and waits
    bool iotlb_persist = true;           // vdpa-blk: maps survive a reset when the feature is acknowledged
    std::vector<Sibling> siblings = {};  // of vfio-pci's: what else its group has
    bool polls_doorbells =
        false;  // edu, nvme: BAR 0 can be mapped, and a thread looks for what is written there
    std::uint64_t memory_size = 4ULL << 20;  // ivshmem: of its BAR 2, a power of two from 4K to 16G
};

struct IovaRange {
    std::uint64_t first;
    std::uint64_t last;
};

enum class IommuKind : std::uint8_t {
    intel,   // VT-d with second-level tables, in scalable mode where more is described
    virtio,  // virtio-iommu: tells nothing of itself, takes no flags, and does not isolate interrupts
    smmuv3,  // Arm's, with first-stage tables only: nothing nests
    amd,     // AMD's, with version 1 tables of six levels: no PASIDs, nothing nests
};

// The Linux that is played, from 6.6 to 7.3: what came later isn't there.
struct KernelVersion {
    unsigned major = 7;
    unsigned minor = 3;
    auto operator<=>(const KernelVersion&) const = default;
};

struct Description {
    std::vector<DeviceDescription> devices = {};
    // What an IOAS allows while a device is attached: ascending, page-aligned. The default is that of
    // intel-iommu with 48 bits: all but the interrupt window.
    std::vector<IovaRange> iova_ranges = {{0, 0xfedfffff}, {0xfef00000, 0xffffffffffff}};
    IommuKind iommu = IommuKind::intel;
    // A bit for each size that its tables can have in one piece. Where none is as small as the processor's page,
    // an attach is EINVAL.
    std::uint64_t page_sizes = 1ULL << 12 | 1ULL << 21 | 1ULL << 30;
    bool dirty_tracking = false;
    // intel only: VT-d in scalable mode, which takes guests' first-stage tables of four levels. The tables that a program
    // gets without asking for a parent or for dirty tracking are first-stage ones then (from 6.13 on): of 47 bits.
    bool nesting = false;
    // iommufd.allow_unsafe_interrupts: a device may be bound though its interrupts aren't isolated.
    bool unsafe_interrupts = false;
    KernelVersion kernel = {};
    // RLIMIT_MEMLOCK in bytes. Unset: the program has CAP_IPC_LOCK, and nothing is charged.
    std::optional<std::uint64_t> memlock = {};
    // Whether the program has CAP_SYS_RESOURCE and so may choose how pins are accounted.
    bool sys_resource = true;
    // Whether it has CAP_SYS_RAWIO and so may ask for physical addresses (and learn that there are none).
    bool sys_rawio = true;
    // Whether the kernel has CONFIG_IOMMUFD_TEST: a command that makes mock devices behind an IOMMU that can
    // do everything, and looks into page tables. The ABI is the kernel's, and changes with it.
    bool mock = false;
};

// One device of each kind.
IOMMUFD_EXPORT Description everything();

// "devices=edu,nvme:size=64M,vdpa-blk,memlock=1M". A device is KIND[:key=value]...; the keys are name, and of
// edu dma-bits and page-requests, of edu and nvme doorbells (poll or trap), of nvme and ivshmem size, of vdpa-blk size and persist.
// The machine's own are memlock (a size), kernel (6.6 to 7.3), iommu (intel, virtio, smmuv3 or amd), and dirty-tracking, nesting,
// unsafe-interrupts, sys-resource, sys-rawio and mock (on or off).
IOMMUFD_EXPORT Result<Description> parse(std::string_view text);

// 0, or what of a description makes no sense: for whoever makes one otherwise than by parse(), which calls it.
IOMMUFD_EXPORT Result<void> check(const Description& description);

// What the IOMMU leaves to devices where nobody says otherwise, as QEMU's does or Linux's driver, and the sizes of pages that it has.
IOMMUFD_EXPORT std::vector<IovaRange> ranges_of(IommuKind kind);
IOMMUFD_EXPORT std::uint64_t page_sizes_of(IommuKind kind);

// Parts of a text form that others share: "64M", "6.12", "virtio", "edu".
IOMMUFD_EXPORT bool read_size(std::string_view text, std::uint64_t& size);
IOMMUFD_EXPORT bool read_version(std::string_view text, KernelVersion& version);
IOMMUFD_EXPORT bool read_iommu(std::string_view text, IommuKind& kind);
IOMMUFD_EXPORT bool read_kind(std::string_view text, DeviceKind& kind);
IOMMUFD_EXPORT std::string_view text(DeviceKind kind);

// A modelled device and how programs find it.
struct Device {
    DeviceKind kind;
    std::string name;  // "0000:00:10.0", "blk0"
    std::string node;  // "/dev/vfio/devices/vfio0", "/dev/vhost-vdpa-0"
};

// A DMA that reached for memory that wasn't mapped for it: nothing was written, zeroes were read.
struct BlockedDma {
    std::string device;
    std::uint64_t iova;
    std::uint64_t length;
    bool write;  // by the device
};

// What a program has not given back.
struct Leaks {
    std::size_t descriptors = 0;  // of the model, open
    std::size_t contexts = 0;     // of /dev/iommu, alive: through a descriptor or a bound device
    std::size_t objects = 0;      // ids in those contexts
    std::size_t mappings = 0;     // areas of their IOASes, and entries of IOTLBs
    std::uint64_t pinned = 0;     // bytes
    std::size_t devices = 0;      // bound, or opened by vhost-vdpa

    bool any() const { return descriptors + contexts + objects + mappings + devices != 0 || pinned != 0; }
    IOMMUFD_EXPORT std::string text() const;  // "2 descriptors, 1 mapping"; "nothing"
};

struct Inside;

class IOMMUFD_EXPORT Machine {
public:
    // Throws std::bad_alloc or std::system_error where the process has no memory, thread or descriptor.
    explicit Machine(const Description& description = everything());
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // Lives as long as the machine.
    sys::Kernel& kernel() noexcept;

    std::vector<Device> devices() const;
    Leaks leaks() const;

    // The first 1024 blocked DMAs in their order, and how many there were.
    std::vector<BlockedDma> blocked_dma() const;
    std::uint64_t blocked_dma_count() const;

    // Asks the owner of a VFIO device to give it back, as `unbind` would: signals its REQ interrupt.
    // False: no such device, or nobody listens.
    bool request_device(std::string_view name);

private:
    friend struct Inside;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::model
