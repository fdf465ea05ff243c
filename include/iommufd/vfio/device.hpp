// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device given to user space by VFIO: found, opened, bound to an iommufd, attached to an address space,
// driven.
//
//     Cdev --BIND_IOMMUFD--> Device --ATTACH_IOMMUFD_PT--> an Ioas or a Hwpt
//      |  /dev/vfio/...        |------GET_REGION_INFO----> Region: BARs, config space (region.hpp)
//      |                       |------SET_IRQS-----------> interrupts on the caller's eventfds
//      '- fd(): for KVM-VFIO   '------FEATURE------------> migration, power, DMA log (features.hpp)
//
// In this order: open, bind, attach (a dma::Space does that), enable(), regions and interrupts. Letting go in
// any order is right.
//
// A Device is a User of its Backend: the node stays open as long as the device lives. A dma::Space keeps an
// attached device alive; so do its regions. In the end the device is closed, which detaches it, before the
// iommufd.
//
// The kernel asks for a device back by its REQ interrupt: watch request_fd(), stop, detach and let go, or
// `unbind` and the removal of the device hang until then. Even afterwards a duplicate of the descriptor,
// somewhere else, keeps the device.
//
// Threads: any calls may run at once, except attach and detach of one device; a move and destroy() must not
// run against others.
// Linux: 6.6 (PASIDs 6.15, VF tokens at the bind 6.17, noiommu devices 7.2).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/attachable.hpp"

namespace iommufd::inline v0_1::vfio {

class Device;
class DeviceNode;
class Region;

// A VF token: the shared secret of a PF's and its VFs' owners.
using VfToken = std::array<std::uint8_t, 16>;

// "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".
IOMMUFD_EXPORT std::optional<VfToken> parse_vf_token(std::string_view text);

class IOMMUFD_EXPORT Cdev {
public:
    struct Options {
        sys::Kernel* kernel = nullptr;  // nothing: the machine's own; else it must outlive the device
        std::string name = {};          // of a given descriptor, for errors; found otherwise
    };

    // By PCI address ("0000:02:00.0", "02:00.0"), by an mdev's UUID, or by a device's folder in /sys. ENOENT:
    // no such device. ENODEV: it is not bound to a VFIO driver (the error says to which, and how to bind it),
    // is in no IOMMU group, or the kernel gives no character device. EACCES, EMFILE, ...: from opening that;
    // ENXIO: it is another device's.
    static Result<Cdev> open(std::string_view where);
    static Result<Cdev> open(std::string_view where, Options options);
    // A descriptor that somebody opened. EBADF, ENODEV: no VFIO device's; EBUSY: it is bound already.
    static Result<Cdev> from(AdoptFd fd);
    static Result<Cdev> from(AdoptFd fd, Options options);
    static Result<Cdev> from(DupFd fd);
    static Result<Cdev> from(DupFd fd, Options options);

    Cdev(Cdev&&) noexcept;
    Cdev& operator=(Cdev&&) noexcept;
    ~Cdev();

    // Borrowed.
    int fd() const noexcept;
    // "vfio-pci 0000:02:00.0".
    const std::string& name() const noexcept;

    // Binds it. EBUSY, EPERM, EINVAL: the group isn't viable, interrupts aren't remapped, somebody else has
    // it: the error says which and names the group's members. EACCES: the VF token. EXDEV: device and backend
    // are of two kernels. On failure everything is closed.
    Result<Device> bind(const Backend& backend) &&;
    Result<Device> bind(const Backend& backend, const VfToken& token) &&;

private:
    struct State;
    explicit Cdev(std::unique_ptr<State> state) noexcept;
    Result<Device> bind(const Backend& backend, const VfToken* token);
    std::unique_ptr<State> state_;
};

struct DeviceInfo {
    bool translated;  // an IOMMU stands between the device and memory; not so with a noiommu device
    bool is_pci;
    bool resets;  // reset() works
    std::uint32_t regions;
    std::uint32_t interrupts;  // indexes
};

// The interrupts of a PCI device.
enum class Irq : std::uint32_t { intx = 0, msi = 1, msix = 2, error = 3, request = 4 };

struct IrqInfo {
    std::uint32_t count;  // vectors; 0: the device has none of this kind
    bool eventfd;
    bool maskable;
    bool automasked;  // masked when it fires: unmask it after handling
    bool noresize;    // vectors can't be added later
};

// A device that a hot reset affects as well.
struct ResetPeer {
    std::string address;  // "0000:02:00.1"
    bool owned;           // by this iommufd, or it needs no owner: a reset is allowed when all are
    DeviceId id;          // where it is bound to this iommufd
};

class IOMMUFD_EXPORT Device {
public:
    Device(Device&&) noexcept;
    Device& operator=(Device&&) noexcept;
    ~Device();

    // The kernel's id of the device in its iommufd.
    DeviceId id() const noexcept;
    const std::string& name() const noexcept;
    // Borrowed.
    int fd() const noexcept;
    const DeviceInfo& info() const noexcept;

    // How many address bits the device drives, where it knows better than the kernel: edu 28. Before it
    // attaches.
    void set_dma_bits(unsigned bits) const noexcept;

    // Attaches to a page table, or replaces the one that it is attached to, without a gap where the IOMMU
    // can. Returns the one in use: for an IOAS the kernel's own choice, for an mdev the IOAS itself. A Space
    // does this for you. EINVAL: the page table doesn't fit the device's IOMMU or its group uses another one;
    // ENOENT: it is none of this iommufd; EADDRINUSE, EFAULT, ENOMEM: what is mapped; EBUSY: it is being
    // reset. A PASID must be one that the device has (EOPNOTSUPP, EINVAL), and the page table made for
    // PASIDs.
    Result<HwptId> attach(PageTableId table) const;
    Result<HwptId> attach(PageTableId table, std::uint32_t pasid) const;
    // Afterwards the device reaches no memory. After a failure it is on the context's not-released list,
    // until it is attached again or closed.
    Result<void> detach() const;
    Result<void> detach(std::uint32_t pasid) const;

    // A BAR (0 to 5), the ROM (6) or config space (7): see region.hpp. EINVAL: no such region; ENODEV: it is
    // empty.
    Result<Region> region(std::uint32_t index) const;
    // Lets the device start DMA (bus mastering) and answer memory accesses.
    Result<void> enable() const;

    Result<IrqInfo> irq_info(Irq irq) const;
    // Signals the caller's eventfds, one for each vector from `first` on; -1 takes a vector's away. The
    // kernel keeps the eventfd, not the descriptor, which may be closed. ENOSPC: the device has fewer vectors
    // to give than asked for, which the error tells; nothing is enabled then. EINVAL: no such vector, or
    // another type is active: disable that first.
    Result<void> set_irqs(Irq irq, std::uint32_t first, std::span<const int> eventfds) const;
    Result<void> disable_irqs(Irq irq) const;
    Result<void> mask(Irq irq, std::uint32_t vector) const;
    Result<void> unmask(Irq irq, std::uint32_t vector) const;
    // Unmasks INTx whenever this eventfd is signalled, without a call (KVM's resample); -1 ends it.
    Result<void> set_unmask_eventfd(Irq irq, int eventfd) const;
    // Fires the vector's eventfd as if the device had.
    Result<void> trigger(Irq irq, std::uint32_t vector) const;

    // An eventfd that becomes readable when the kernel wants the device back, and again every ten seconds; -1
    // where the device has no such interrupt. Borrowed; reading it never blocks.
    int request_fd() const noexcept;
    // The same when the device reports an uncorrectable error.
    int error_fd() const noexcept;

    // Resets the function. EINVAL: the device has no way to (info().resets); EAGAIN: it is locked. Mappings
    // of dma-bufs of its BARs are dead for good afterwards: unmap them and map them again.
    Result<void> reset() const;
    // The devices that a reset of the slot or bus affects. ENODEV: there is no such reset.
    Result<std::vector<ResetPeer>> reset_peers() const;
    // Resets slot or bus. EINVAL: not all of the peers are bound to this iommufd; the error names those.
    Result<void> hot_reset() const;

    // Closes the device, which detaches and unbinds it. EBUSY, and the handle stays, while a Space or a
    // Region keeps it.
    Result<void> destroy() &&;

    // For the layers above.
    explicit Device(std::shared_ptr<DeviceNode> node) noexcept;
    const std::shared_ptr<dma::Attachable>& attachable() const noexcept { return attachable_; }
    const std::shared_ptr<DeviceNode>& node() const noexcept { return node_; }

private:
    std::shared_ptr<DeviceNode> node_;
    std::shared_ptr<dma::Attachable> attachable_;
};

}  // namespace iommufd::inline v0_1::vfio
