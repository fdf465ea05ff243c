// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device as a Space sees it. Frontends implement it; there are two kinds:
//
//     a device bound to an iommufd    the Space attaches it to a page table of its IOAS   (VFIO)
//     a device with a sink of its own the Space maps into that sink                       (vhost-vdpa)
//
// A Space keeps a shared pointer to it for as long as it is attached, so a device may be let go at any time.
//
// Threads: the Space makes at most one call at a time on one device.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "iommufd/core/hwpt.hpp"
#include "iommufd/dma/dirty_source.hpp"
#include "iommufd/dma/sink.hpp"

namespace iommufd::inline v0_1::dma {

// The part of a device that an IOMMU translates for.
class IOMMUFD_EXPORT IommuDevice {
public:
    virtual ~IommuDevice() = default;
    virtual DeviceId id() const noexcept = 0;
    virtual const std::shared_ptr<core::ContextNode>& context() const noexcept = 0;
    // Whether this is one PASID of a device: it attaches only to page tables that were made for PASIDs.
    virtual bool is_pasid() const noexcept { return false; }
    // Attaches, or replaces what it is attached to. Returns the page table in use. EINVAL: this page table
    // doesn't fit the device's IOMMU, another may.
    virtual Result<HwptId> attach(PageTableId table) = 0;
    // Afterwards the device reaches no memory.
    virtual Result<void> detach() = 0;

    // Whether guests' tables will be nested in its page table (viommu/): it attaches only to page tables that were made
    // for that, by this call, and may keep a handle of its own as long as it is attached.
    virtual bool nests() const noexcept { return false; }
    virtual Result<HwptId> attach_to(const core::Hwpt& table) { return attach(table.id()); }

    // The same for one PASID of the device, apart from what the device itself is attached to. EOPNOTSUPP: it has none.
    virtual Result<HwptId> attach_pasid(PageTableId table, std::uint32_t pasid);
    virtual Result<void> detach_pasid(std::uint32_t pasid);
};

class Attachable {
public:
    Attachable() = default;
    Attachable(const Attachable&) = delete;
    Attachable& operator=(const Attachable&) = delete;
    virtual ~Attachable() = default;

    // "vfio-pci 0000:02:00.0": in errors and lists.
    virtual const std::string& name() const noexcept = 0;
    // How many address bits the device itself drives, which the kernel can't know; 64: no limit.
    virtual unsigned dma_bits() const noexcept { return 64; }

    // Exactly one of these two is not null, always the same.
    virtual IommuDevice* iommu_device() noexcept { return nullptr; }
    virtual Sink* sink() noexcept { return nullptr; }

    // The device's own log of what it wrote, if it has one.
    virtual DirtySource* dirty_source() noexcept { return nullptr; }

    // A device is in one space at a time: whether it is now in this one, and not in another.
    bool claim(const void* space) noexcept {
        const void* nobody = nullptr;
        return space_.compare_exchange_strong(nobody, space);
    }
    void release_claim() noexcept { space_ = nullptr; }

private:
    std::atomic<const void*> space_ = nullptr;
};

}  // namespace iommufd::inline v0_1::dma
