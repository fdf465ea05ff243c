// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The page tables of one IOAS, made as its devices need them.
#pragma once

#include <vector>

#include "iommufd/core/hwpt.hpp"
#include "iommufd/dma/attachable.hpp"

namespace iommufd::inline v0_1::dma {

// The kernel's automatic page tables offer no dirty tracking, so a space makes its own, one for each kind of
// IOMMU among its devices: each existing one is tried (EINVAL: another kind), then one is made with what the
// IOMMU can do, and for a PASID the flag that it needs. Devices that have no page table of their own (mdevs),
// IOMMUs that don't tell, drivers that can't make a page table before they attach it, and kernels before 6.6
// attach to the IOAS itself.
//
// Not thread-safe.
class PageTables {
public:
    explicit PageTables(const core::Ioas& ioas) : ioas_(ioas) {}

    Result<void> attach(IommuDevice& device);
    // Frees the page table with its last device.
    Result<void> detach(IommuDevice& device);

    // One that the process before this one made and attached these devices to.
    Result<void> adopt(const core::Context& context, HwptId table, bool dirty_tracking, bool pasid,
                       std::vector<const IommuDevice*> devices);
    // Whether it is the kernel that makes them; also told by that process.
    bool left_to_the_kernel() const noexcept { return left_to_the_kernel_; }
    void leave_to_the_kernel() noexcept { left_to_the_kernel_ = true; }

    struct Use {
        HwptId table;
        bool dirty_tracking;
        bool pasid;
        std::vector<const IommuDevice*> devices;
    };
    std::vector<Use> uses() const;

private:
    struct Table {
        core::Hwpt hwpt;
        bool dirty_tracking;
        bool pasid;
        std::vector<const IommuDevice*> devices;
    };

    Result<core::Hwpt> make(IommuDevice& device, const core::Context& context, bool& dirty_tracking) const;

    const core::Ioas& ioas_;
    std::vector<Table> tables_;
    bool left_to_the_kernel_ = false;  // its driver can't make one before it attaches
};

}  // namespace iommufd::inline v0_1::dma
