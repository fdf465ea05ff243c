// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device whose guest has an IOMMU of its own: the guest's tables translate first, the Space's mappings after them.
//
//     vfio::Device <- GuestDevice <--attach-- Space      its page table is made to nest others in (a "parent")
//                         |
//                         |-- install(table) --HWPT_ALLOC--> Hwpt (nested)   a table of the guest, attached by replace
//                         |-- bypass()                       the parent: guest-physical addresses, as without a guest's IOMMU
//                         |-- block()                        nothing: the device reaches no memory
//                         '-- viommu() --VIOMMU_ALLOC--> core::Viommu --> Vdevice, VeventQueue, nested tables
//
//     auto guest = viommu::GuestDevice::of(device).value();
//     auto joined = space.attach(guest).value();          // and not the device itself; starts in bypass
//     auto slice = guest.viommu({.label = "smmu0", .type = smmuv3::kViommu}).value();    // SMMUv3; VT-d does without
//     auto vdevice = guest.vdevice(slice, stream_id).value();
//     guest.install(smmuv3::decode(words).value().table, {.viommu = &slice});   // each time the guest changes its entry
//     guest.install(vtd::decode(words, hardware).value().table);                // VT-d; its translation may ask for bypass()
//
// The Space remains the truth of what is mapped: its maps and unmaps reach the guest's tables at once, and no call here
// changes them. When it detaches the device, the guest's tables are taken off before and go with it; a viommu that is
// still there then stands on an empty IOAS.
//
// A new table is attached first, and only then the old one freed. When the kernel refuses it, the old one stays attached.
// Whether the device's DMA goes on meanwhile is the driver's: SMMUv3's exchanges one entry; VT-d's of Linux 7.3 takes the
// old entry down first, so that DMA in between faults.
//
// What the kernel asks for besides:
//   - A device alone in its IOMMU group: all of a group get the table.
//   - On VT-d the parent takes no mapping that is read-only: mapping or attaching such says EINVAL (erratum 772415).
//   - On SMMUv3 a table that translates needs the vdevice before.
//   - Dirty tracking by the IOMMU is the parent's, so it goes on below the guest's tables where the parent has it (VT-d);
//     a device's own log is in the guest's addresses, so it isn't offered to the Space.
//
// Threads: any calls may run at once. Those that change the attachment take turns with each other and with the Space.
// Linux: 6.8 (viommu 6.13, PASIDs 6.15).
#pragma once

#include <memory>
#include <optional>
#include <string_view>

#include "iommufd/core/fault_queue.hpp"
#include "iommufd/core/viommu.hpp"
#include "iommufd/dma/attachable.hpp"
#include "iommufd/viommu/format.hpp"

namespace iommufd::inline v0_1::viommu {

class GuestState;

enum class Translation : std::uint8_t {
    none,     // the device is in no space
    blocked,  // block()
    bypass,   // the parent
    nested,   // a table of the guest
};

struct InstallOptions {
    std::string_view label = {};
    // Of a PASID, besides what the device itself has. Not on SMMUv3, where the guest's table holds its PASIDs.
    std::optional<std::uint32_t> pasid = {};
    // What the table belongs to, where the IOMMU has that; made by viommu() of this device or of another one behind the
    // same IOMMU in the same space.
    const core::Viommu* viommu = nullptr;
    // Where page requests go that come through this table; kept alive by it.
    const core::FaultQueue* fault_queue = nullptr;
};

class IOMMUFD_EXPORT GuestDevice {
public:
    // A vfio::Device, or any Attachable that an IOMMU translates for (EINVAL: a vhost-vdpa device). EBUSY: it is in a
    // space. As long as this lives, in a handle or in a space, no space takes the device itself.
    template <class Device>
        requires requires(const Device& device) { device.attachable(); }
    static Result<GuestDevice> of(const Device& device) {
        return of(device.attachable());
    }
    static Result<GuestDevice> of(std::shared_ptr<dma::Attachable> device);

    GuestDevice(GuestDevice&&) noexcept;
    GuestDevice& operator=(GuestDevice&&) noexcept;
    ~GuestDevice();  // the Space keeps what it has attached

    // What a Space attaches. EOPNOTSUPP from that: the IOMMU can't nest.
    const std::shared_ptr<dma::Attachable>& attachable() const noexcept { return attachable_; }

    DeviceId id() const noexcept;
    // What the device itself has now.
    Translation translation() const;

    // Attaches a table of the guest in place of what is attached. ENODEV: the device is in no space. EXDEV: the viommu
    // stands on another page table than the device has now. ENODEV, EINVAL with a fault queue: no page requests (PRI). Else
    // what the kernel says of the table (HWPT_ALLOC; EIO: an SMMUv3 entry that it doesn't take) or of attaching it. After
    // any failure the old one is attached as before.
    template <Encoded Table>
    Result<void> install(const Table& table, const InstallOptions& options = {}) const {
        return install(data_of(table), options);
    }
    Result<void> install(core::HwData table, const InstallOptions& options) const;

    // The guest's IOMMU lets the device pass: it is attached to the parent again, and the guest's table freed.
    Result<void> bypass() const;
    // The guest's IOMMU has no valid entry for the device: it is detached until the next install() or bypass(), and stays in
    // the Space. (On SMMUv3 an abort entry does it too, and lets the guest have its events.)
    Result<void> block() const;
    // Takes the guest's table off a PASID. ENOENT: it has none.
    Result<void> remove(std::uint32_t pasid) const;

    // Tells the IOMMU what the guest changed in the table that is attached now, the device's or a PASID's: where tables have
    // no viommu (VT-d). `done`: entries handled. ENOENT: there is no guest's table. See Batch.
    Result<void> invalidate(const core::Invalidation& invalidation, std::uint32_t& done,
                            std::optional<std::uint32_t> pasid = {}) const;

    // A slice of the IOMMU on this device's parent. ENODEV: the device is in no space.
    Result<core::Viommu> viommu(core::Viommu::Options options) const;
    // The device as the guest numbers it: SMMUv3's stream id.
    Result<core::Vdevice> vdevice(const core::Viommu& viommu, std::uint64_t virtual_id) const;

private:
    explicit GuestDevice(std::shared_ptr<GuestState> state) noexcept;
    std::shared_ptr<GuestState> state_;
    std::shared_ptr<dma::Attachable> attachable_;
};

}  // namespace iommufd::inline v0_1::viommu
