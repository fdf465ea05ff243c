// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How much memory a guest's devices need locked, before it is started.
#pragma once

#include <cstdint>
#include <optional>

namespace iommufd::inline v0_1::cli {

struct PlanArguments {
    std::uint64_t memory = 0;   // of the guest, in bytes
    unsigned devices = 1;       // of VFIO
    unsigned pinning_vdpa = 0;  // vhost-vdpa devices that pin
    bool viommu =
        false;  // each VFIO device has an address space of its own, in which all memory may be mapped
    bool json = false;
};

// In bytes, for one process that starts with nothing locked.
struct PinnedMemory {
    std::uint64_t by_iommufd;  // once for each address space
    std::uint64_t
        by_vdpa;  // once for each device, for which the process needs the limit whatever its privilege
    // What RLIMIT_MEMLOCK must allow whatever comes first: vDPA's check counts what iommufd has pinned as well.
    std::uint64_t limit() const { return by_iommufd + by_vdpa; }
    // The same where the vDPA devices are there before the others: iommufd's check counts its own pins alone.
    std::uint64_t limit_vdpa_first() const { return by_iommufd > by_vdpa ? by_iommufd : by_vdpa; }
    // Of a process that CAP_IPC_LOCK excuses from iommufd's check; nothing: it needs none.
    std::optional<std::uint64_t> limit_excused() const {
        return by_vdpa == 0 ? std::nullopt : std::optional(limit());
    }
};

// `memory` is rounded up to whole pages, of `page` bytes.
PinnedMemory pinned_memory(const PlanArguments& arguments, std::uint64_t page);

// `iommufd plan`: kDone where the limit in force is enough, else kFailed.
int plan(const PlanArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
