// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What was tried when something failed: one name for each system call and ioctl that this library
// makes. It is half of the key of the error table (the other half is the errno).
#pragma once

#include <cstdint>
#include <string_view>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

enum class Operation : std::uint8_t {
    none,  // no system call: the library itself refused
    // system calls
    open,
    close,
    dup,
    mmap,
    munmap,
    read,
    write,
    region_read,
    region_write,
    region_mmap,
    memory_create,
    prefault,
    // /dev/iommu
    destroy,
    ioas_alloc,
    ioas_allow_iovas,
    ioas_copy,
    ioas_iova_ranges,
    ioas_map,
    ioas_unmap,
    option,
    vfio_ioas,
    hwpt_alloc,
    get_hw_info,
    hwpt_set_dirty_tracking,
    hwpt_get_dirty_bitmap,
    hwpt_invalidate,
    fault_queue_alloc,
    ioas_map_file,
    viommu_alloc,
    vdevice_alloc,
    ioas_change_process,
    veventq_alloc,
    hw_queue_alloc,
    ioas_noiommu_get_pa,
    fault_read,
    fault_respond,
    vevent_read,
    iommufd_mmap,
    // VFIO
    vfio_open,
    vfio_bind,
    vfio_attach,
    vfio_detach,
    vfio_get_info,
    vfio_get_region_info,
    vfio_get_irq_info,
    vfio_set_irqs,
    vfio_reset,
    vfio_hot_reset_info,
    vfio_hot_reset,
    vfio_ioeventfd,
    vfio_feature,
    vfio_precopy_info,
    // VFIO type1 on /dev/iommu
    type1_check_extension,
    type1_set_iommu,
    type1_get_info,
    type1_map_dma,
    type1_unmap_dma,
    // vhost-vdpa
    vdpa_open,
    vdpa_set_owner,
    vdpa_features,
    vdpa_backend_features,
    vdpa_status,
    vdpa_config,
    vdpa_iova_range,
    vdpa_vring,
    vdpa_address_space,
    vdpa_suspend,
    iotlb_update,
    iotlb_invalidate,
    iotlb_batch,
};

// The name that people know: "IOAS_MAP", "VFIO_DEVICE_BIND_IOMMUFD", "open".
IOMMUFD_EXPORT std::string_view name(Operation operation) noexcept;

// The first Linux that has it: "6.2"; empty where every Linux has it.
IOMMUFD_EXPORT std::string_view since(Operation operation) noexcept;

}  // namespace iommufd::inline v0_1
