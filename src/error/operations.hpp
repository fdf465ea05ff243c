// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is known of each operation before it fails: its name, its first kernel, and by what it reaches
// the kernel. The order is that of the enum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "iommufd/error/operation.hpp"

namespace iommufd::inline v0_1 {

// Operations that share how they are framed, and so the errnos that the frame alone can give.
enum class Through : std::uint8_t {
    call,     // a system call of its own, or an IOTLB message
    iommufd,  // an ioctl of /dev/iommu
    vfio,     // an ioctl of a VFIO device
    type1,    // a VFIO container's ioctl, as /dev/iommu emulates it
    vdpa,     // an ioctl of a vhost-vdpa device
};

struct OperationFacts {
    Operation operation;
    Through through;
    std::string_view name;
    std::string_view since;
};

inline constexpr OperationFacts kOperations[] = {
    {Operation::none, Through::call, "refused", ""},
    {Operation::open, Through::call, "open", ""},
    {Operation::close, Through::call, "close", ""},
    {Operation::dup, Through::call, "dup", ""},
    {Operation::mmap, Through::call, "mmap", ""},
    {Operation::munmap, Through::call, "munmap", ""},
    {Operation::read, Through::call, "read", ""},
    {Operation::write, Through::call, "write", ""},
    {Operation::region_read, Through::call, "pread of a device region", "6.6"},
    {Operation::region_write, Through::call, "pwrite of a device region", "6.6"},
    {Operation::region_mmap, Through::call, "mmap of a device region", "6.6"},
    {Operation::memory_create, Through::call, "creating memory", ""},
    {Operation::prefault, Through::call, "MADV_POPULATE_WRITE", "5.14"},
    {Operation::destroy, Through::iommufd, "IOMMU_DESTROY", "6.2"},
    {Operation::ioas_alloc, Through::iommufd, "IOMMU_IOAS_ALLOC", "6.2"},
    {Operation::ioas_allow_iovas, Through::iommufd, "IOMMU_IOAS_ALLOW_IOVAS", "6.2"},
    {Operation::ioas_copy, Through::iommufd, "IOMMU_IOAS_COPY", "6.2"},
    {Operation::ioas_iova_ranges, Through::iommufd, "IOMMU_IOAS_IOVA_RANGES", "6.2"},
    {Operation::ioas_map, Through::iommufd, "IOMMU_IOAS_MAP", "6.2"},
    {Operation::ioas_unmap, Through::iommufd, "IOMMU_IOAS_UNMAP", "6.2"},
    {Operation::option, Through::iommufd, "IOMMU_OPTION", "6.2"},
    {Operation::vfio_ioas, Through::iommufd, "IOMMU_VFIO_IOAS", "6.2"},
    {Operation::hwpt_alloc, Through::iommufd, "IOMMU_HWPT_ALLOC", "6.6"},
    {Operation::get_hw_info, Through::iommufd, "IOMMU_GET_HW_INFO", "6.6"},
    {Operation::hwpt_set_dirty_tracking, Through::iommufd, "IOMMU_HWPT_SET_DIRTY_TRACKING", "6.7"},
    {Operation::hwpt_get_dirty_bitmap, Through::iommufd, "IOMMU_HWPT_GET_DIRTY_BITMAP", "6.7"},
    {Operation::hwpt_invalidate, Through::iommufd, "IOMMU_HWPT_INVALIDATE", "6.8"},
    {Operation::fault_queue_alloc, Through::iommufd, "IOMMU_FAULT_QUEUE_ALLOC", "6.11"},
    {Operation::ioas_map_file, Through::iommufd, "IOMMU_IOAS_MAP_FILE", "6.13"},
    {Operation::viommu_alloc, Through::iommufd, "IOMMU_VIOMMU_ALLOC", "6.13"},
    {Operation::vdevice_alloc, Through::iommufd, "IOMMU_VDEVICE_ALLOC", "6.13"},
    {Operation::ioas_change_process, Through::iommufd, "IOMMU_IOAS_CHANGE_PROCESS", "6.13"},
    {Operation::veventq_alloc, Through::iommufd, "IOMMU_VEVENTQ_ALLOC", "6.15"},
    {Operation::hw_queue_alloc, Through::iommufd, "IOMMU_HW_QUEUE_ALLOC", "6.17"},
    {Operation::ioas_noiommu_get_pa, Through::iommufd, "IOMMU_IOAS_NOIOMMU_GET_PA", "7.2"},
    {Operation::fault_read, Through::call, "read of a fault queue", "6.11"},
    {Operation::fault_respond, Through::call, "write to a fault queue", "6.11"},
    {Operation::vevent_read, Through::call, "read of an event queue", "6.15"},
    {Operation::iommufd_mmap, Through::call, "mmap of /dev/iommu", "6.17"},
    {Operation::vfio_open, Through::call, "open of a VFIO device", "6.6"},
    {Operation::vfio_bind, Through::vfio, "VFIO_DEVICE_BIND_IOMMUFD", "6.6"},
    {Operation::vfio_attach, Through::vfio, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", "6.6"},
    {Operation::vfio_detach, Through::vfio, "VFIO_DEVICE_DETACH_IOMMUFD_PT", "6.6"},
    {Operation::vfio_get_info, Through::vfio, "VFIO_DEVICE_GET_INFO", "3.6"},
    {Operation::vfio_get_region_info, Through::vfio, "VFIO_DEVICE_GET_REGION_INFO", "3.6"},
    {Operation::vfio_get_irq_info, Through::vfio, "VFIO_DEVICE_GET_IRQ_INFO", "3.6"},
    {Operation::vfio_set_irqs, Through::vfio, "VFIO_DEVICE_SET_IRQS", "3.6"},
    {Operation::vfio_reset, Through::vfio, "VFIO_DEVICE_RESET", "3.6"},
    {Operation::vfio_hot_reset_info, Through::vfio, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", "3.12"},
    {Operation::vfio_hot_reset, Through::vfio, "VFIO_DEVICE_PCI_HOT_RESET", "3.12"},
    {Operation::vfio_ioeventfd, Through::vfio, "VFIO_DEVICE_IOEVENTFD", "4.17"},
    {Operation::vfio_feature, Through::vfio, "VFIO_DEVICE_FEATURE", "5.7"},
    {Operation::vfio_precopy_info, Through::vfio, "VFIO_MIG_GET_PRECOPY_INFO", "6.2"},
    {Operation::type1_check_extension, Through::type1, "VFIO_CHECK_EXTENSION", "6.2"},
    {Operation::type1_set_iommu, Through::type1, "VFIO_SET_IOMMU", "6.2"},
    {Operation::type1_get_info, Through::type1, "VFIO_IOMMU_GET_INFO", "6.2"},
    {Operation::type1_map_dma, Through::type1, "VFIO_IOMMU_MAP_DMA", "6.2"},
    {Operation::type1_unmap_dma, Through::type1, "VFIO_IOMMU_UNMAP_DMA", "6.2"},
    {Operation::vdpa_open, Through::call, "open of a vhost-vdpa device", "5.7"},
    {Operation::vdpa_set_owner, Through::vdpa, "VHOST_SET_OWNER", "5.7"},
    {Operation::vdpa_features, Through::vdpa, "VHOST_SET_FEATURES", "5.7"},
    {Operation::vdpa_backend_features, Through::vdpa, "VHOST_SET_BACKEND_FEATURES", "5.9"},
    {Operation::vdpa_status, Through::vdpa, "VHOST_VDPA_SET_STATUS", "5.7"},
    {Operation::vdpa_config, Through::vdpa, "VHOST_VDPA_GET_CONFIG", "5.7"},
    {Operation::vdpa_iova_range, Through::vdpa, "VHOST_VDPA_GET_IOVA_RANGE", "5.10"},
    {Operation::vdpa_vring, Through::vdpa, "VHOST_SET_VRING", "5.7"},
    {Operation::vdpa_address_space, Through::vdpa, "VHOST_VDPA_SET_GROUP_ASID", "5.19"},
    {Operation::vdpa_suspend, Through::vdpa, "VHOST_VDPA_SUSPEND", "6.0"},
    {Operation::iotlb_update, Through::call, "VHOST_IOTLB_UPDATE", "5.7"},
    {Operation::iotlb_invalidate, Through::call, "VHOST_IOTLB_INVALIDATE", "5.7"},
    {Operation::iotlb_batch, Through::call, "VHOST_IOTLB_BATCH", "5.9"},
};

constexpr bool operations_stand_in_order() {
    for (std::size_t i = 0; i < std::size(kOperations); ++i)
        if (static_cast<std::size_t>(kOperations[i].operation) != i) return false;
    return static_cast<std::size_t>(Operation::iotlb_batch) + 1 == std::size(kOperations);
}
static_assert(operations_stand_in_order());

constexpr const OperationFacts& facts(Operation operation) noexcept {
    return kOperations[static_cast<std::size_t>(operation)];
}

}  // namespace iommufd::inline v0_1
