// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Our words for VFIO devices against those of the real kernel: see uapi_check.cpp.
#include <linux/vfio.h>

#include "uapi/same.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::uapi::vfio {
namespace {

SAME_VALUE(kGetApiVersion, VFIO_GET_API_VERSION);
SAME_VALUE(kCheckExtension, VFIO_CHECK_EXTENSION);
SAME_VALUE(kSetIommu, VFIO_SET_IOMMU);
SAME_VALUE(kDeviceGetInfo, VFIO_DEVICE_GET_INFO);
SAME_VALUE(kDeviceGetRegionInfo, VFIO_DEVICE_GET_REGION_INFO);
SAME_VALUE(kDeviceGetIrqInfo, VFIO_DEVICE_GET_IRQ_INFO);
SAME_VALUE(kDeviceSetIrqs, VFIO_DEVICE_SET_IRQS);
SAME_VALUE(kDeviceReset, VFIO_DEVICE_RESET);
SAME_VALUE(kDeviceGetPciHotResetInfo, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO);
SAME_VALUE(kDevicePciHotReset, VFIO_DEVICE_PCI_HOT_RESET);
SAME_VALUE(kDeviceIoeventfd, VFIO_DEVICE_IOEVENTFD);
SAME_VALUE(kDeviceFeature, VFIO_DEVICE_FEATURE);
SAME_VALUE(kDeviceBindIommufd, VFIO_DEVICE_BIND_IOMMUFD);
SAME_VALUE(kDeviceAttachIommufdPt, VFIO_DEVICE_ATTACH_IOMMUFD_PT);
SAME_VALUE(kDeviceDetachIommufdPt, VFIO_DEVICE_DETACH_IOMMUFD_PT);
SAME_VALUE(kMigGetPrecopyInfo, VFIO_MIG_GET_PRECOPY_INFO);
SAME_VALUE(kIommuGetInfo, VFIO_IOMMU_GET_INFO);
SAME_VALUE(kIommuMapDma, VFIO_IOMMU_MAP_DMA);
SAME_VALUE(kIommuUnmapDma, VFIO_IOMMU_UNMAP_DMA);
SAME_VALUE(kDeviceFlagReset, VFIO_DEVICE_FLAGS_RESET);
SAME_VALUE(kDeviceFlagPci, VFIO_DEVICE_FLAGS_PCI);
SAME_VALUE(kDeviceFlagCaps, VFIO_DEVICE_FLAGS_CAPS);
SAME_VALUE(kPciBar0, VFIO_PCI_BAR0_REGION_INDEX);
SAME_VALUE(kPciRom, VFIO_PCI_ROM_REGION_INDEX);
SAME_VALUE(kPciConfig, VFIO_PCI_CONFIG_REGION_INDEX);
SAME_VALUE(kPciVga, VFIO_PCI_VGA_REGION_INDEX);
SAME_VALUE(kPciNumRegions, VFIO_PCI_NUM_REGIONS);
SAME_VALUE(kRegionRead, VFIO_REGION_INFO_FLAG_READ);
SAME_VALUE(kRegionWrite, VFIO_REGION_INFO_FLAG_WRITE);
SAME_VALUE(kRegionMmap, VFIO_REGION_INFO_FLAG_MMAP);
SAME_VALUE(kRegionCaps, VFIO_REGION_INFO_FLAG_CAPS);
SAME_VALUE(kRegionCapSparseMmap, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
SAME_VALUE(kRegionCapType, VFIO_REGION_INFO_CAP_TYPE);
SAME_VALUE(kRegionCapMsixMappable, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
SAME_VALUE(kPciIntx, VFIO_PCI_INTX_IRQ_INDEX);
SAME_VALUE(kPciMsi, VFIO_PCI_MSI_IRQ_INDEX);
SAME_VALUE(kPciMsix, VFIO_PCI_MSIX_IRQ_INDEX);
SAME_VALUE(kPciErr, VFIO_PCI_ERR_IRQ_INDEX);
SAME_VALUE(kPciReq, VFIO_PCI_REQ_IRQ_INDEX);
SAME_VALUE(kPciNumIrqs, VFIO_PCI_NUM_IRQS);
SAME_VALUE(kIrqEventfd, VFIO_IRQ_INFO_EVENTFD);
SAME_VALUE(kIrqMaskable, VFIO_IRQ_INFO_MASKABLE);
SAME_VALUE(kIrqAutomasked, VFIO_IRQ_INFO_AUTOMASKED);
SAME_VALUE(kIrqNoresize, VFIO_IRQ_INFO_NORESIZE);
SAME_VALUE(kIrqSetDataNone, VFIO_IRQ_SET_DATA_NONE);
SAME_VALUE(kIrqSetDataBool, VFIO_IRQ_SET_DATA_BOOL);
SAME_VALUE(kIrqSetDataEventfd, VFIO_IRQ_SET_DATA_EVENTFD);
SAME_VALUE(kIrqSetMask, VFIO_IRQ_SET_ACTION_MASK);
SAME_VALUE(kIrqSetUnmask, VFIO_IRQ_SET_ACTION_UNMASK);
SAME_VALUE(kIrqSetTrigger, VFIO_IRQ_SET_ACTION_TRIGGER);
SAME_VALUE(kHotResetDevId, VFIO_PCI_HOT_RESET_FLAG_DEV_ID);
SAME_VALUE(kHotResetDevIdOwned, VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
SAME_VALUE(kDevidOwned, VFIO_PCI_DEVID_OWNED);
SAME_VALUE(kDevidNotOwned, VFIO_PCI_DEVID_NOT_OWNED);
SAME_VALUE(kIoeventfdSizeMask, VFIO_DEVICE_IOEVENTFD_SIZE_MASK);
SAME_VALUE(kBindToken, VFIO_DEVICE_BIND_FLAG_TOKEN);
SAME_VALUE(kAttachPasid, VFIO_DEVICE_ATTACH_PASID);
SAME_VALUE(kFeatureMask, VFIO_DEVICE_FEATURE_MASK);
SAME_VALUE(kFeatureGet, VFIO_DEVICE_FEATURE_GET);
SAME_VALUE(kFeatureSet, VFIO_DEVICE_FEATURE_SET);
SAME_VALUE(kFeatureProbe, VFIO_DEVICE_FEATURE_PROBE);
SAME_VALUE(kFeaturePciVfToken, VFIO_DEVICE_FEATURE_PCI_VF_TOKEN);
SAME_VALUE(kFeatureMigration, VFIO_DEVICE_FEATURE_MIGRATION);
SAME_VALUE(kFeatureMigDeviceState, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE);
SAME_VALUE(kFeatureLowPowerEntry, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
SAME_VALUE(kFeatureLowPowerEntryWithWakeup, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP);
SAME_VALUE(kFeatureLowPowerExit, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
SAME_VALUE(kFeatureDmaLoggingStart, VFIO_DEVICE_FEATURE_DMA_LOGGING_START);
SAME_VALUE(kFeatureDmaLoggingStop, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP);
SAME_VALUE(kFeatureDmaLoggingReport, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT);
SAME_VALUE(kFeatureMigDataSize, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE);
SAME_VALUE(kFeatureBusMaster, VFIO_DEVICE_FEATURE_BUS_MASTER);
SAME_VALUE(kFeatureDmaBuf, VFIO_DEVICE_FEATURE_DMA_BUF);
SAME_VALUE(kFeatureMigPrecopyInfoV2, VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2);
SAME_VALUE(kFeatureZpciError, VFIO_DEVICE_FEATURE_ZPCI_ERROR);
SAME_VALUE(kMigrationStopCopy, VFIO_MIGRATION_STOP_COPY);
SAME_VALUE(kMigrationP2p, VFIO_MIGRATION_P2P);
SAME_VALUE(kMigrationPreCopy, VFIO_MIGRATION_PRE_COPY);
SAME_VALUE(kMigStateError, VFIO_DEVICE_STATE_ERROR);
SAME_VALUE(kMigStateStop, VFIO_DEVICE_STATE_STOP);
SAME_VALUE(kMigStateRunning, VFIO_DEVICE_STATE_RUNNING);
SAME_VALUE(kMigStateStopCopy, VFIO_DEVICE_STATE_STOP_COPY);
SAME_VALUE(kMigStateResuming, VFIO_DEVICE_STATE_RESUMING);
SAME_VALUE(kMigStateRunningP2p, VFIO_DEVICE_STATE_RUNNING_P2P);
SAME_VALUE(kMigStatePreCopy, VFIO_DEVICE_STATE_PRE_COPY);
SAME_VALUE(kMigStatePreCopyP2p, VFIO_DEVICE_STATE_PRE_COPY_P2P);
SAME_VALUE(kPrecopyInfoReinit, VFIO_PRECOPY_INFO_REINIT);
SAME_VALUE(kType1Iommu, VFIO_TYPE1_IOMMU);
SAME_VALUE(kType1v2Iommu, VFIO_TYPE1v2_IOMMU);
SAME_VALUE(kDmaCcIommu, VFIO_DMA_CC_IOMMU);
SAME_VALUE(kNoiommuIommu, VFIO_NOIOMMU_IOMMU);
SAME_VALUE(kUnmapAll, VFIO_UNMAP_ALL);
SAME_VALUE(kIommuInfoPgsizes, VFIO_IOMMU_INFO_PGSIZES);
SAME_VALUE(kIommuInfoCaps, VFIO_IOMMU_INFO_CAPS);
SAME_VALUE(kDmaMapRead, VFIO_DMA_MAP_FLAG_READ);
SAME_VALUE(kDmaMapWrite, VFIO_DMA_MAP_FLAG_WRITE);
SAME_VALUE(kDmaUnmapAll, VFIO_DMA_UNMAP_FLAG_ALL);

SAME_SIZE(InfoCapHeader, vfio_info_cap_header);
SAME_MEMBER(InfoCapHeader, id, vfio_info_cap_header, id);
SAME_MEMBER(InfoCapHeader, version, vfio_info_cap_header, version);
SAME_MEMBER(InfoCapHeader, next, vfio_info_cap_header, next);

SAME_SIZE(DeviceInfo, vfio_device_info);
SAME_MEMBER(DeviceInfo, argsz, vfio_device_info, argsz);
SAME_MEMBER(DeviceInfo, flags, vfio_device_info, flags);
SAME_MEMBER(DeviceInfo, num_regions, vfio_device_info, num_regions);
SAME_MEMBER(DeviceInfo, num_irqs, vfio_device_info, num_irqs);
SAME_MEMBER(DeviceInfo, cap_offset, vfio_device_info, cap_offset);
SAME_MEMBER(DeviceInfo, pad, vfio_device_info, pad);

SAME_SIZE(RegionInfo, vfio_region_info);
SAME_MEMBER(RegionInfo, argsz, vfio_region_info, argsz);
SAME_MEMBER(RegionInfo, flags, vfio_region_info, flags);
SAME_MEMBER(RegionInfo, index, vfio_region_info, index);
SAME_MEMBER(RegionInfo, cap_offset, vfio_region_info, cap_offset);
SAME_MEMBER(RegionInfo, size, vfio_region_info, size);
SAME_MEMBER(RegionInfo, offset, vfio_region_info, offset);

SAME_SIZE(RegionSparseMmapArea, vfio_region_sparse_mmap_area);
SAME_MEMBER(RegionSparseMmapArea, offset, vfio_region_sparse_mmap_area, offset);
SAME_MEMBER(RegionSparseMmapArea, size, vfio_region_sparse_mmap_area, size);

SAME_SIZE(RegionInfoCapSparseMmap, vfio_region_info_cap_sparse_mmap);
SAME_MEMBER(RegionInfoCapSparseMmap, header, vfio_region_info_cap_sparse_mmap, header);
SAME_MEMBER(RegionInfoCapSparseMmap, nr_areas, vfio_region_info_cap_sparse_mmap, nr_areas);
SAME_MEMBER(RegionInfoCapSparseMmap, reserved, vfio_region_info_cap_sparse_mmap, reserved);

SAME_SIZE(RegionInfoCapType, vfio_region_info_cap_type);
SAME_MEMBER(RegionInfoCapType, header, vfio_region_info_cap_type, header);
SAME_MEMBER(RegionInfoCapType, type, vfio_region_info_cap_type, type);
SAME_MEMBER(RegionInfoCapType, subtype, vfio_region_info_cap_type, subtype);

SAME_SIZE(IrqInfo, vfio_irq_info);
SAME_MEMBER(IrqInfo, argsz, vfio_irq_info, argsz);
SAME_MEMBER(IrqInfo, flags, vfio_irq_info, flags);
SAME_MEMBER(IrqInfo, index, vfio_irq_info, index);
SAME_MEMBER(IrqInfo, count, vfio_irq_info, count);

SAME_SIZE(IrqSet, vfio_irq_set);
SAME_MEMBER(IrqSet, argsz, vfio_irq_set, argsz);
SAME_MEMBER(IrqSet, flags, vfio_irq_set, flags);
SAME_MEMBER(IrqSet, index, vfio_irq_set, index);
SAME_MEMBER(IrqSet, start, vfio_irq_set, start);
SAME_MEMBER(IrqSet, count, vfio_irq_set, count);

SAME_SIZE(PciDependentDevice, vfio_pci_dependent_device);
SAME_MEMBER(PciDependentDevice, devid, vfio_pci_dependent_device, devid);
SAME_MEMBER(PciDependentDevice, segment, vfio_pci_dependent_device, segment);
SAME_MEMBER(PciDependentDevice, bus, vfio_pci_dependent_device, bus);
SAME_MEMBER(PciDependentDevice, devfn, vfio_pci_dependent_device, devfn);

SAME_SIZE(PciHotResetInfo, vfio_pci_hot_reset_info);
SAME_MEMBER(PciHotResetInfo, argsz, vfio_pci_hot_reset_info, argsz);
SAME_MEMBER(PciHotResetInfo, flags, vfio_pci_hot_reset_info, flags);
SAME_MEMBER(PciHotResetInfo, count, vfio_pci_hot_reset_info, count);

SAME_SIZE(PciHotReset, vfio_pci_hot_reset);
SAME_MEMBER(PciHotReset, argsz, vfio_pci_hot_reset, argsz);
SAME_MEMBER(PciHotReset, flags, vfio_pci_hot_reset, flags);
SAME_MEMBER(PciHotReset, count, vfio_pci_hot_reset, count);

SAME_SIZE(DeviceIoeventfd, vfio_device_ioeventfd);
SAME_MEMBER(DeviceIoeventfd, argsz, vfio_device_ioeventfd, argsz);
SAME_MEMBER(DeviceIoeventfd, flags, vfio_device_ioeventfd, flags);
SAME_MEMBER(DeviceIoeventfd, offset, vfio_device_ioeventfd, offset);
SAME_MEMBER(DeviceIoeventfd, data, vfio_device_ioeventfd, data);
SAME_MEMBER(DeviceIoeventfd, fd, vfio_device_ioeventfd, fd);
SAME_MEMBER(DeviceIoeventfd, reserved, vfio_device_ioeventfd, reserved);

SAME_SIZE(DeviceBindIommufd, vfio_device_bind_iommufd);
SAME_MEMBER(DeviceBindIommufd, argsz, vfio_device_bind_iommufd, argsz);
SAME_MEMBER(DeviceBindIommufd, flags, vfio_device_bind_iommufd, flags);
SAME_MEMBER(DeviceBindIommufd, iommufd, vfio_device_bind_iommufd, iommufd);
SAME_MEMBER(DeviceBindIommufd, out_devid, vfio_device_bind_iommufd, out_devid);
SAME_MEMBER(DeviceBindIommufd, token_uuid_ptr, vfio_device_bind_iommufd, token_uuid_ptr);

SAME_SIZE(DeviceAttachIommufdPt, vfio_device_attach_iommufd_pt);
SAME_MEMBER(DeviceAttachIommufdPt, argsz, vfio_device_attach_iommufd_pt, argsz);
SAME_MEMBER(DeviceAttachIommufdPt, flags, vfio_device_attach_iommufd_pt, flags);
SAME_MEMBER(DeviceAttachIommufdPt, pt_id, vfio_device_attach_iommufd_pt, pt_id);
SAME_MEMBER(DeviceAttachIommufdPt, pasid, vfio_device_attach_iommufd_pt, pasid);

SAME_SIZE(DeviceDetachIommufdPt, vfio_device_detach_iommufd_pt);
SAME_MEMBER(DeviceDetachIommufdPt, argsz, vfio_device_detach_iommufd_pt, argsz);
SAME_MEMBER(DeviceDetachIommufdPt, flags, vfio_device_detach_iommufd_pt, flags);
SAME_MEMBER(DeviceDetachIommufdPt, pasid, vfio_device_detach_iommufd_pt, pasid);

SAME_SIZE(DeviceFeature, vfio_device_feature);
SAME_MEMBER(DeviceFeature, argsz, vfio_device_feature, argsz);
SAME_MEMBER(DeviceFeature, flags, vfio_device_feature, flags);

SAME_SIZE(FeatureMigration, vfio_device_feature_migration);
SAME_MEMBER(FeatureMigration, flags, vfio_device_feature_migration, flags);

SAME_SIZE(FeatureMigState, vfio_device_feature_mig_state);
SAME_MEMBER(FeatureMigState, device_state, vfio_device_feature_mig_state, device_state);
SAME_MEMBER(FeatureMigState, data_fd, vfio_device_feature_mig_state, data_fd);

SAME_SIZE(PrecopyInfo, vfio_precopy_info);
SAME_MEMBER(PrecopyInfo, argsz, vfio_precopy_info, argsz);
SAME_MEMBER(PrecopyInfo, flags, vfio_precopy_info, flags);
SAME_MEMBER(PrecopyInfo, initial_bytes, vfio_precopy_info, initial_bytes);
SAME_MEMBER(PrecopyInfo, dirty_bytes, vfio_precopy_info, dirty_bytes);

SAME_SIZE(FeatureLowPowerEntryWithWakeup, vfio_device_low_power_entry_with_wakeup);
SAME_MEMBER(FeatureLowPowerEntryWithWakeup, wakeup_eventfd, vfio_device_low_power_entry_with_wakeup,
            wakeup_eventfd);
SAME_MEMBER(FeatureLowPowerEntryWithWakeup, reserved, vfio_device_low_power_entry_with_wakeup, reserved);

SAME_SIZE(FeatureDmaLoggingControl, vfio_device_feature_dma_logging_control);
SAME_MEMBER(FeatureDmaLoggingControl, page_size, vfio_device_feature_dma_logging_control, page_size);
SAME_MEMBER(FeatureDmaLoggingControl, num_ranges, vfio_device_feature_dma_logging_control, num_ranges);
SAME_MEMBER(FeatureDmaLoggingControl, reserved, vfio_device_feature_dma_logging_control, __reserved);
SAME_MEMBER(FeatureDmaLoggingControl, ranges, vfio_device_feature_dma_logging_control, ranges);

SAME_SIZE(FeatureDmaLoggingRange, vfio_device_feature_dma_logging_range);
SAME_MEMBER(FeatureDmaLoggingRange, iova, vfio_device_feature_dma_logging_range, iova);
SAME_MEMBER(FeatureDmaLoggingRange, length, vfio_device_feature_dma_logging_range, length);

SAME_SIZE(FeatureDmaLoggingReport, vfio_device_feature_dma_logging_report);
SAME_MEMBER(FeatureDmaLoggingReport, iova, vfio_device_feature_dma_logging_report, iova);
SAME_MEMBER(FeatureDmaLoggingReport, length, vfio_device_feature_dma_logging_report, length);
SAME_MEMBER(FeatureDmaLoggingReport, page_size, vfio_device_feature_dma_logging_report, page_size);
SAME_MEMBER(FeatureDmaLoggingReport, bitmap, vfio_device_feature_dma_logging_report, bitmap);

SAME_SIZE(FeatureMigDataSize, vfio_device_feature_mig_data_size);
SAME_MEMBER(FeatureMigDataSize, stop_copy_length, vfio_device_feature_mig_data_size, stop_copy_length);

SAME_SIZE(FeatureBusMaster, vfio_device_feature_bus_master);
SAME_MEMBER(FeatureBusMaster, op, vfio_device_feature_bus_master, op);

SAME_SIZE(RegionDmaRange, vfio_region_dma_range);
SAME_MEMBER(RegionDmaRange, offset, vfio_region_dma_range, offset);
SAME_MEMBER(RegionDmaRange, length, vfio_region_dma_range, length);

SAME_SIZE(FeatureDmaBuf, vfio_device_feature_dma_buf);
SAME_MEMBER(FeatureDmaBuf, region_index, vfio_device_feature_dma_buf, region_index);
SAME_MEMBER(FeatureDmaBuf, open_flags, vfio_device_feature_dma_buf, open_flags);
SAME_MEMBER(FeatureDmaBuf, flags, vfio_device_feature_dma_buf, flags);
SAME_MEMBER(FeatureDmaBuf, nr_ranges, vfio_device_feature_dma_buf, nr_ranges);

SAME_SIZE(FeatureZpciError, vfio_device_feature_zpci_err);
SAME_MEMBER(FeatureZpciError, data, vfio_device_feature_zpci_err, data);

SAME_SIZE(IommuType1Info, vfio_iommu_type1_info);
SAME_MEMBER(IommuType1Info, argsz, vfio_iommu_type1_info, argsz);
SAME_MEMBER(IommuType1Info, flags, vfio_iommu_type1_info, flags);
SAME_MEMBER(IommuType1Info, iova_pgsizes, vfio_iommu_type1_info, iova_pgsizes);
SAME_MEMBER(IommuType1Info, cap_offset, vfio_iommu_type1_info, cap_offset);
SAME_MEMBER(IommuType1Info, pad, vfio_iommu_type1_info, pad);

SAME_SIZE(IommuType1DmaMap, vfio_iommu_type1_dma_map);
SAME_MEMBER(IommuType1DmaMap, argsz, vfio_iommu_type1_dma_map, argsz);
SAME_MEMBER(IommuType1DmaMap, flags, vfio_iommu_type1_dma_map, flags);
SAME_MEMBER(IommuType1DmaMap, vaddr, vfio_iommu_type1_dma_map, vaddr);
SAME_MEMBER(IommuType1DmaMap, iova, vfio_iommu_type1_dma_map, iova);
SAME_MEMBER(IommuType1DmaMap, size, vfio_iommu_type1_dma_map, size);

SAME_SIZE(IommuType1DmaUnmap, vfio_iommu_type1_dma_unmap);
SAME_MEMBER(IommuType1DmaUnmap, argsz, vfio_iommu_type1_dma_unmap, argsz);
SAME_MEMBER(IommuType1DmaUnmap, flags, vfio_iommu_type1_dma_unmap, flags);
SAME_MEMBER(IommuType1DmaUnmap, iova, vfio_iommu_type1_dma_unmap, iova);
SAME_MEMBER(IommuType1DmaUnmap, size, vfio_iommu_type1_dma_unmap, size);

}  // namespace
}  // namespace iommufd::uapi::vfio
