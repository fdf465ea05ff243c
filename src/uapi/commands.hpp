// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Every command of /dev/iommu as of Linux 7.3: for tests, generated documents and the model kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "uapi/iommufd.hpp"

namespace iommufd::uapi {

struct Command {
    Request request;
    std::string_view name;
    std::uint32_t size;          // of its struct now
    std::uint32_t minimum_size;  // of its struct at first: what the kernel still takes
    std::string_view since;      // the first Linux that has it
};

// Numbers ascend without a gap, as in the kernel's own table.
inline constexpr Command kCommands[] = {
    {kDestroy, "IOMMU_DESTROY", sizeof(Destroy), 8, "6.2"},
    {kIoasAlloc, "IOMMU_IOAS_ALLOC", sizeof(IoasAlloc), 12, "6.2"},
    {kIoasAllowIovas, "IOMMU_IOAS_ALLOW_IOVAS", sizeof(IoasAllowIovas), 24, "6.2"},
    {kIoasCopy, "IOMMU_IOAS_COPY", sizeof(IoasCopy), 40, "6.2"},
    {kIoasIovaRanges, "IOMMU_IOAS_IOVA_RANGES", sizeof(IoasIovaRanges), 32, "6.2"},
    {kIoasMap, "IOMMU_IOAS_MAP", sizeof(IoasMap), 40, "6.2"},
    {kIoasUnmap, "IOMMU_IOAS_UNMAP", sizeof(IoasUnmap), 24, "6.2"},
    {kOption, "IOMMU_OPTION", sizeof(Option), 24, "6.2"},
    {kVfioIoas, "IOMMU_VFIO_IOAS", sizeof(VfioIoas), 12, "6.2"},
    {kHwptAlloc, "IOMMU_HWPT_ALLOC", sizeof(HwptAlloc), 24, "6.6"},
    {kGetHwInfo, "IOMMU_GET_HW_INFO", sizeof(HwInfo), 32, "6.6"},
    {kHwptSetDirtyTracking, "IOMMU_HWPT_SET_DIRTY_TRACKING", sizeof(HwptSetDirtyTracking), 16, "6.7"},
    {kHwptGetDirtyBitmap, "IOMMU_HWPT_GET_DIRTY_BITMAP", sizeof(HwptGetDirtyBitmap), 48, "6.7"},
    {kHwptInvalidate, "IOMMU_HWPT_INVALIDATE", sizeof(HwptInvalidate), 32, "6.8"},
    {kFaultQueueAlloc, "IOMMU_FAULT_QUEUE_ALLOC", sizeof(FaultQueueAlloc), 16, "6.11"},
    {kIoasMapFile, "IOMMU_IOAS_MAP_FILE", sizeof(IoasMapFile), 40, "6.13"},
    {kViommuAlloc, "IOMMU_VIOMMU_ALLOC", sizeof(ViommuAlloc), 24, "6.13"},
    {kVdeviceAlloc, "IOMMU_VDEVICE_ALLOC", sizeof(VdeviceAlloc), 24, "6.13"},
    {kIoasChangeProcess, "IOMMU_IOAS_CHANGE_PROCESS", sizeof(IoasChangeProcess), 8, "6.13"},
    {kVeventqAlloc, "IOMMU_VEVENTQ_ALLOC", sizeof(VeventqAlloc), 28, "6.15"},
    {kHwQueueAlloc, "IOMMU_HW_QUEUE_ALLOC", sizeof(HwQueueAlloc), 40, "6.17"},
    {kIoasNoiommuGetPa, "IOMMU_IOAS_NOIOMMU_GET_PA", sizeof(IoasNoiommuGetPa), 40, "7.2"},
};

// The command of a request; nullptr where this kernel has none.
constexpr const Command* find_command(Request request) noexcept {
    for (const Command& command : kCommands)
        if (command.request == request) return &command;
    return nullptr;
}

}  // namespace iommufd::uapi
