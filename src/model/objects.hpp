// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The objects of a context, and who uses whom.
//
//     Ioas <-- PagingHwpt <-- NestedHwpt <-- BoundDevice <-- MockObject
//      ^         ^    ^                           |
//      |         |    +--- Viommu <-- Vdevice ----+        FaultQueue <-- Hwpt, its descriptor
//      |         |           ^ ^                           VeventQueue <-- its descriptor
//      |         |           | +-- VeventQueue
//      +-- AccessObject <-- HwQueue                        (an access: <-- its descriptor)
//
// Guarded by the lock of the context.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "model/domain.hpp"
#include "model/endpoint.hpp"
#include "model/first_stage.hpp"
#include "model/io_pagetable.hpp"
#include "model/object_table.hpp"

namespace iommufd::inline v0_1::model {

struct FaultQueue;
struct HwQueue;
struct PagingHwpt;
struct Vdevice;
struct Viommu;

struct Ioas final : Object {
    IoPagetable iopt;
    std::vector<PagingHwpt*> hwpts;  // in the order in which they came
};

// A hardware page table.
struct Hwpt : Object {
    const void* iommu = nullptr;
    FaultQueue* faults = nullptr;   // where what isn't mapped is reported
    bool pasid_compatible = false;  // may be attached to a PASID, or beside one

    // Itself, or what it is nested in.
    virtual PagingHwpt& paging() = 0;
};

// A domain that follows an IOAS.
struct PagingHwpt final : Hwpt {
    Ioas* ioas = nullptr;
    std::shared_ptr<Domain> domain;
    bool automatic = false;  // made by an attach, gone with the last detach
    bool nest_parent = false;

    PagingHwpt& paging() override { return *this; }
};

// A guest's page table on top of one.
struct NestedHwpt final : Hwpt {
    PagingHwpt* parent = nullptr;
    Viommu* viommu = nullptr;                 // instead of the parent it is what is used
    std::shared_ptr<FirstStage> first_stage;  // of VT-d; the kernel's mock has numbers only
    std::array<std::uint32_t, 4> iotlb = {};

    PagingHwpt& paging() override { return *parent; }
};

// Every attachment is a user of the device, as is the driver.
struct BoundDevice final : Object {
    Endpoint* endpoint = nullptr;
    std::map<std::uint32_t, Hwpt*> attached;  // by PASID; kNoPasid: the device itself
    Vdevice* vdevice = nullptr;

    Hwpt* attached_at(std::uint32_t pasid) const {
        const auto found = attached.find(pasid);
        return found == attached.end() ? nullptr : found->second;
    }
};

}  // namespace iommufd::inline v0_1::model
