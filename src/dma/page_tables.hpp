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
// IOMMU can do, and for a PASID or a guest's tables the flag that those need. Devices that have no page table of their own (mdevs),
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

    struct Use {
        HwptId table;
        bool dirty_tracking;
        unsigned devices;
    };
    std::vector<Use> uses() const;

private:
    struct Table {
        core::Hwpt hwpt;
        bool dirty_tracking;
        bool pasid;
        bool nest_parent;
        std::vector<const IommuDevice*> devices;
    };

    Result<Table> make(const IommuDevice& device) const;

    const core::Ioas& ioas_;
    std::vector<Table> tables_;
    bool left_to_the_kernel_ = false;  // its driver can't make one before it attaches
};

}  // namespace iommufd::inline v0_1::dma
