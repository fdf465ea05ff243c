// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The page tables of one IOAS, made as its devices need them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "dma/dirty_plan.hpp"

namespace iommufd::inline v0_1::dma {

// The kernel's automatic page tables offer no dirty tracking, so a space makes its own, one for each kind of
// IOMMU among its devices, and each queue of page requests: each existing one is tried (EINVAL: another kind), then one is
// made with what the IOMMU can do, and for a PASID or a guest's tables the flag that those need. Devices that have no page table of their own (mdevs),
// IOMMUs that don't tell, drivers that can't make a page table before they attach it, and kernels before 6.6
// attach to the IOAS itself.
//
// Not thread-safe.
class PageTables {
public:
    // `huge_pages`: what the IOAS says of it.
    PageTables(const core::Ioas& ioas, bool huge_pages) : ioas_(ioas), huge_pages_(huge_pages) {}

    // `faults`: where its page requests go; null: nowhere.
    Result<void> attach(IommuDevice& device, const core::FaultQueue* faults = nullptr);
    // Frees the page table with its last device. `last` is called before, with what it noted.
    Result<void> detach(IommuDevice& device, const std::function<void(const DirtyTrail&)>& last = {});

    // Those that can note what is written. From track(true) on, new ones do so before a device is attached to them; those that
    // don't start can't.
    std::vector<DirtyTrail> trails() const;
    void track(bool on) noexcept { tracks_ = on; }
    // Whether the device's page table can.
    bool can_track(const IommuDevice& device) const noexcept;
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
    // Whether any has a queue for page requests.
    bool have_faults() const noexcept;

private:
    struct Table {
        std::shared_ptr<core::Hwpt> hwpt;
        bool dirty_tracking;
        std::uint64_t largest_page;  // of its entries, in bytes; 0: any
        bool pasid;
        bool nest_parent;
        std::shared_ptr<core::ObjectNode> faults;  // null: none
        std::vector<const IommuDevice*> devices;

        DirtyTrail trail() const { return {.table = hwpt, .device = {}, .largest_page = largest_page}; }
    };

    Result<Table> make(const IommuDevice& device, const core::FaultQueue* faults) const;

    const core::Ioas& ioas_;
    const bool huge_pages_;
    std::vector<Table> tables_;
    bool left_to_the_kernel_ = false;  // its driver can't make one before it attaches
    bool tracks_ = false;
};

}  // namespace iommufd::inline v0_1::dma
