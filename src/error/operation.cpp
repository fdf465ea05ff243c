// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/error/operation.hpp"

#include <array>
#include <cstddef>

namespace iommufd::inline v0_1 {
namespace {

struct Row {
    Operation operation;
    std::string_view name;
    std::string_view since;
};

constexpr Row kRows[] = {
    {Operation::none, "refused", ""},
    {Operation::open, "open", ""},
    {Operation::close, "close", ""},
    {Operation::dup, "dup", ""},
    {Operation::mmap, "mmap", ""},
    {Operation::munmap, "munmap", ""},
    {Operation::read, "read", ""},
    {Operation::write, "write", ""},
    {Operation::region_read, "pread of a device region", "6.6"},
    {Operation::region_write, "pwrite of a device region", "6.6"},
    {Operation::region_mmap, "mmap of a device region", "6.6"},
    {Operation::memory_create, "creating memory", ""},
    {Operation::prefault, "MADV_POPULATE_WRITE", "5.14"},
    {Operation::destroy, "IOMMU_DESTROY", "6.2"},
    {Operation::ioas_alloc, "IOMMU_IOAS_ALLOC", "6.2"},
    {Operation::ioas_allow_iovas, "IOMMU_IOAS_ALLOW_IOVAS", "6.2"},
    {Operation::ioas_copy, "IOMMU_IOAS_COPY", "6.2"},
    {Operation::ioas_iova_ranges, "IOMMU_IOAS_IOVA_RANGES", "6.2"},
    {Operation::ioas_map, "IOMMU_IOAS_MAP", "6.2"},
    {Operation::ioas_unmap, "IOMMU_IOAS_UNMAP", "6.2"},
    {Operation::option, "IOMMU_OPTION", "6.2"},
    {Operation::vfio_ioas, "IOMMU_VFIO_IOAS", "6.2"},
    {Operation::hwpt_alloc, "IOMMU_HWPT_ALLOC", "6.6"},
    {Operation::get_hw_info, "IOMMU_GET_HW_INFO", "6.6"},
    {Operation::hwpt_set_dirty_tracking, "IOMMU_HWPT_SET_DIRTY_TRACKING", "6.7"},
    {Operation::hwpt_get_dirty_bitmap, "IOMMU_HWPT_GET_DIRTY_BITMAP", "6.7"},
    {Operation::hwpt_invalidate, "IOMMU_HWPT_INVALIDATE", "6.8"},
    {Operation::fault_queue_alloc, "IOMMU_FAULT_QUEUE_ALLOC", "6.11"},
    {Operation::ioas_map_file, "IOMMU_IOAS_MAP_FILE", "6.13"},
    {Operation::viommu_alloc, "IOMMU_VIOMMU_ALLOC", "6.13"},
    {Operation::vdevice_alloc, "IOMMU_VDEVICE_ALLOC", "6.13"},
    {Operation::ioas_change_process, "IOMMU_IOAS_CHANGE_PROCESS", "6.13"},
    {Operation::veventq_alloc, "IOMMU_VEVENTQ_ALLOC", "6.15"},
    {Operation::hw_queue_alloc, "IOMMU_HW_QUEUE_ALLOC", "6.17"},
    {Operation::ioas_noiommu_get_pa, "IOMMU_IOAS_NOIOMMU_GET_PA", "7.2"},
    {Operation::fault_read, "read of a fault queue", "6.11"},
    {Operation::fault_respond, "write to a fault queue", "6.11"},
    {Operation::vevent_read, "read of an event queue", "6.15"},
    {Operation::iommufd_mmap, "mmap of /dev/iommu", "6.17"},
    {Operation::vfio_open, "open of a VFIO device", "6.6"},
    {Operation::vfio_bind, "VFIO_DEVICE_BIND_IOMMUFD", "6.6"},
    {Operation::vfio_attach, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", "6.6"},
    {Operation::vfio_detach, "VFIO_DEVICE_DETACH_IOMMUFD_PT", "6.6"},
    {Operation::vfio_get_info, "VFIO_DEVICE_GET_INFO", ""},
    {Operation::vfio_get_region_info, "VFIO_DEVICE_GET_REGION_INFO", ""},
    {Operation::vfio_get_irq_info, "VFIO_DEVICE_GET_IRQ_INFO", ""},
    {Operation::vfio_set_irqs, "VFIO_DEVICE_SET_IRQS", ""},
    {Operation::vfio_reset, "VFIO_DEVICE_RESET", ""},
    {Operation::vfio_hot_reset_info, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", ""},
    {Operation::vfio_hot_reset, "VFIO_DEVICE_PCI_HOT_RESET", ""},
    {Operation::vfio_ioeventfd, "VFIO_DEVICE_IOEVENTFD", ""},
    {Operation::vfio_feature, "VFIO_DEVICE_FEATURE", ""},
    {Operation::vfio_precopy_info, "VFIO_MIG_GET_PRECOPY_INFO", "6.2"},
    {Operation::type1_check_extension, "VFIO_CHECK_EXTENSION", ""},
    {Operation::type1_set_iommu, "VFIO_SET_IOMMU", ""},
    {Operation::type1_get_info, "VFIO_IOMMU_GET_INFO", ""},
    {Operation::type1_map_dma, "VFIO_IOMMU_MAP_DMA", ""},
    {Operation::type1_unmap_dma, "VFIO_IOMMU_UNMAP_DMA", ""},
    {Operation::vdpa_open, "open of a vhost-vdpa device", ""},
    {Operation::vdpa_set_owner, "VHOST_SET_OWNER", ""},
    {Operation::vdpa_features, "VHOST_SET_FEATURES", ""},
    {Operation::vdpa_backend_features, "VHOST_SET_BACKEND_FEATURES", ""},
    {Operation::vdpa_status, "VHOST_VDPA_SET_STATUS", ""},
    {Operation::vdpa_config, "VHOST_VDPA_GET_CONFIG", ""},
    {Operation::vdpa_iova_range, "VHOST_VDPA_GET_IOVA_RANGE", ""},
    {Operation::vdpa_vring, "VHOST_SET_VRING", ""},
    {Operation::vdpa_address_space, "VHOST_VDPA_SET_GROUP_ASID", "5.19"},
    {Operation::vdpa_suspend, "VHOST_VDPA_SUSPEND", "6.0"},
    {Operation::iotlb_update, "VHOST_IOTLB_UPDATE", ""},
    {Operation::iotlb_invalidate, "VHOST_IOTLB_INVALIDATE", ""},
    {Operation::iotlb_batch, "VHOST_IOTLB_BATCH", ""},
};

constexpr bool rows_stand_in_order() {
    for (std::size_t i = 0; i < std::size(kRows); ++i)
        if (static_cast<std::size_t>(kRows[i].operation) != i) return false;
    return static_cast<std::size_t>(Operation::iotlb_batch) + 1 == std::size(kRows);
}
static_assert(rows_stand_in_order());

} // namespace

std::string_view name(Operation operation) noexcept {
    return kRows[static_cast<std::size_t>(operation)].name;
}

std::string_view since(Operation operation) noexcept {
    return kRows[static_cast<std::size_t>(operation)].since;
}

} // namespace iommufd::inline v0_1
