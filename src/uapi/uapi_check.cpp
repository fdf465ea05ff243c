// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Our words for /dev/iommu against those of the real kernel. Not part of any layer: tests/uapi/check
// compiles the *_check.cpp beside this file against a kernel's headers, and that is the whole test.
#include <linux/iommufd.h>

#include "uapi/iommufd.hpp"
#include "uapi/same.hpp"

namespace iommufd::uapi {
namespace {

SAME_VALUE(kDestroy, IOMMU_DESTROY);
SAME_VALUE(kIoasAlloc, IOMMU_IOAS_ALLOC);
SAME_VALUE(kIoasAllowIovas, IOMMU_IOAS_ALLOW_IOVAS);
SAME_VALUE(kIoasCopy, IOMMU_IOAS_COPY);
SAME_VALUE(kIoasIovaRanges, IOMMU_IOAS_IOVA_RANGES);
SAME_VALUE(kIoasMap, IOMMU_IOAS_MAP);
SAME_VALUE(kIoasUnmap, IOMMU_IOAS_UNMAP);
SAME_VALUE(kOption, IOMMU_OPTION);
SAME_VALUE(kVfioIoas, IOMMU_VFIO_IOAS);
SAME_VALUE(kHwptAlloc, IOMMU_HWPT_ALLOC);
SAME_VALUE(kGetHwInfo, IOMMU_GET_HW_INFO);
SAME_VALUE(kHwptSetDirtyTracking, IOMMU_HWPT_SET_DIRTY_TRACKING);
SAME_VALUE(kHwptGetDirtyBitmap, IOMMU_HWPT_GET_DIRTY_BITMAP);
SAME_VALUE(kHwptInvalidate, IOMMU_HWPT_INVALIDATE);
SAME_VALUE(kFaultQueueAlloc, IOMMU_FAULT_QUEUE_ALLOC);
SAME_VALUE(kIoasMapFile, IOMMU_IOAS_MAP_FILE);
SAME_VALUE(kViommuAlloc, IOMMU_VIOMMU_ALLOC);
SAME_VALUE(kVdeviceAlloc, IOMMU_VDEVICE_ALLOC);
SAME_VALUE(kIoasChangeProcess, IOMMU_IOAS_CHANGE_PROCESS);
SAME_VALUE(kVeventqAlloc, IOMMU_VEVENTQ_ALLOC);
SAME_VALUE(kHwQueueAlloc, IOMMU_HW_QUEUE_ALLOC);
SAME_VALUE(kIoasNoiommuGetPa, IOMMU_IOAS_NOIOMMU_GET_PA);
SAME_VALUE(kMapFixedIova, IOMMU_IOAS_MAP_FIXED_IOVA);
SAME_VALUE(kMapWriteable, IOMMU_IOAS_MAP_WRITEABLE);
SAME_VALUE(kMapReadable, IOMMU_IOAS_MAP_READABLE);
SAME_VALUE(kOptionRlimitMode, IOMMU_OPTION_RLIMIT_MODE);
SAME_VALUE(kOptionHugePages, IOMMU_OPTION_HUGE_PAGES);
SAME_VALUE(kOptionSet, IOMMU_OPTION_OP_SET);
SAME_VALUE(kOptionGet, IOMMU_OPTION_OP_GET);
SAME_VALUE(kVfioIoasGet, IOMMU_VFIO_IOAS_GET);
SAME_VALUE(kVfioIoasSet, IOMMU_VFIO_IOAS_SET);
SAME_VALUE(kVfioIoasClear, IOMMU_VFIO_IOAS_CLEAR);
SAME_VALUE(kHwptNestParent, IOMMU_HWPT_ALLOC_NEST_PARENT);
SAME_VALUE(kHwptDirtyTracking, IOMMU_HWPT_ALLOC_DIRTY_TRACKING);
SAME_VALUE(kHwptFaultIdValid, IOMMU_HWPT_FAULT_ID_VALID);
SAME_VALUE(kHwptPasid, IOMMU_HWPT_ALLOC_PASID);
SAME_VALUE(kHwptDataNone, IOMMU_HWPT_DATA_NONE);
SAME_VALUE(kHwptDataVtdS1, IOMMU_HWPT_DATA_VTD_S1);
SAME_VALUE(kHwptDataArmSmmuv3, IOMMU_HWPT_DATA_ARM_SMMUV3);
SAME_VALUE(kHwptDataAmdGuest, IOMMU_HWPT_DATA_AMD_GUEST);
SAME_VALUE(kVtdS1Sre, IOMMU_VTD_S1_SRE);
SAME_VALUE(kVtdS1Eafe, IOMMU_VTD_S1_EAFE);
SAME_VALUE(kVtdS1Wpe, IOMMU_VTD_S1_WPE);
SAME_VALUE(kHwInfoInputType, IOMMU_HW_INFO_FLAG_INPUT_TYPE);
SAME_VALUE(kHwInfoNone, IOMMU_HW_INFO_TYPE_NONE);
SAME_VALUE(kHwInfoDefault, IOMMU_HW_INFO_TYPE_DEFAULT);
SAME_VALUE(kHwInfoVtd, IOMMU_HW_INFO_TYPE_INTEL_VTD);
SAME_VALUE(kHwInfoArmSmmuv3, IOMMU_HW_INFO_TYPE_ARM_SMMUV3);
SAME_VALUE(kHwInfoTegra241Cmdqv, IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV);
SAME_VALUE(kHwInfoAmd, IOMMU_HW_INFO_TYPE_AMD);
SAME_VALUE(kHwCapDirtyTracking, IOMMU_HW_CAP_DIRTY_TRACKING);
SAME_VALUE(kHwCapPasidExec, IOMMU_HW_CAP_PCI_PASID_EXEC);
SAME_VALUE(kHwCapPasidPriv, IOMMU_HW_CAP_PCI_PASID_PRIV);
SAME_VALUE(kHwCapAtsNotSupported, IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
SAME_VALUE(kHwInfoVtdErrata772415Spr17, IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17);
SAME_VALUE(kHwInfoArmSmmuv3ErrataRepeatTlbiCfgi, IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI);
SAME_VALUE(kDirtyTrackingEnable, IOMMU_HWPT_DIRTY_TRACKING_ENABLE);
SAME_VALUE(kDirtyBitmapNoClear, IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR);
SAME_VALUE(kInvalidateVtdS1, IOMMU_HWPT_INVALIDATE_DATA_VTD_S1);
SAME_VALUE(kInvalidateArmSmmuv3, IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3);
SAME_VALUE(kVtdInvalidateLeaf, IOMMU_VTD_INV_FLAGS_LEAF);
SAME_VALUE(kFaultPasidValid, IOMMU_PGFAULT_FLAGS_PASID_VALID);
SAME_VALUE(kFaultLastPage, IOMMU_PGFAULT_FLAGS_LAST_PAGE);
SAME_VALUE(kFaultPermRead, IOMMU_PGFAULT_PERM_READ);
SAME_VALUE(kFaultPermWrite, IOMMU_PGFAULT_PERM_WRITE);
SAME_VALUE(kFaultPermExec, IOMMU_PGFAULT_PERM_EXEC);
SAME_VALUE(kFaultPermPriv, IOMMU_PGFAULT_PERM_PRIV);
SAME_VALUE(kPageResponseSuccess, IOMMUFD_PAGE_RESP_SUCCESS);
SAME_VALUE(kPageResponseInvalid, IOMMUFD_PAGE_RESP_INVALID);
SAME_VALUE(kViommuDefault, IOMMU_VIOMMU_TYPE_DEFAULT);
SAME_VALUE(kViommuArmSmmuv3, IOMMU_VIOMMU_TYPE_ARM_SMMUV3);
SAME_VALUE(kViommuTegra241Cmdqv, IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV);
SAME_VALUE(kVeventLost, IOMMU_VEVENTQ_FLAG_LOST_EVENTS);
SAME_VALUE(kVeventqDefault, IOMMU_VEVENTQ_TYPE_DEFAULT);
SAME_VALUE(kVeventqArmSmmuv3, IOMMU_VEVENTQ_TYPE_ARM_SMMUV3);
SAME_VALUE(kVeventqTegra241Cmdqv, IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV);
SAME_VALUE(kHwQueueDefault, IOMMU_HW_QUEUE_TYPE_DEFAULT);
SAME_VALUE(kHwQueueTegra241Cmdqv, IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV);

SAME_SIZE(Destroy, iommu_destroy);
SAME_MEMBER(Destroy, size, iommu_destroy, size);
SAME_MEMBER(Destroy, id, iommu_destroy, id);

SAME_SIZE(IoasAlloc, iommu_ioas_alloc);
SAME_MEMBER(IoasAlloc, size, iommu_ioas_alloc, size);
SAME_MEMBER(IoasAlloc, flags, iommu_ioas_alloc, flags);
SAME_MEMBER(IoasAlloc, out_ioas_id, iommu_ioas_alloc, out_ioas_id);

SAME_SIZE(IovaRange, iommu_iova_range);
SAME_MEMBER(IovaRange, start, iommu_iova_range, start);
SAME_MEMBER(IovaRange, last, iommu_iova_range, last);

SAME_SIZE(IoasIovaRanges, iommu_ioas_iova_ranges);
SAME_MEMBER(IoasIovaRanges, size, iommu_ioas_iova_ranges, size);
SAME_MEMBER(IoasIovaRanges, ioas_id, iommu_ioas_iova_ranges, ioas_id);
SAME_MEMBER(IoasIovaRanges, num_iovas, iommu_ioas_iova_ranges, num_iovas);
SAME_MEMBER(IoasIovaRanges, reserved, iommu_ioas_iova_ranges, __reserved);
SAME_MEMBER(IoasIovaRanges, allowed_iovas, iommu_ioas_iova_ranges, allowed_iovas);
SAME_MEMBER(IoasIovaRanges, out_iova_alignment, iommu_ioas_iova_ranges, out_iova_alignment);

SAME_SIZE(IoasAllowIovas, iommu_ioas_allow_iovas);
SAME_MEMBER(IoasAllowIovas, size, iommu_ioas_allow_iovas, size);
SAME_MEMBER(IoasAllowIovas, ioas_id, iommu_ioas_allow_iovas, ioas_id);
SAME_MEMBER(IoasAllowIovas, num_iovas, iommu_ioas_allow_iovas, num_iovas);
SAME_MEMBER(IoasAllowIovas, reserved, iommu_ioas_allow_iovas, __reserved);
SAME_MEMBER(IoasAllowIovas, allowed_iovas, iommu_ioas_allow_iovas, allowed_iovas);

SAME_SIZE(IoasMap, iommu_ioas_map);
SAME_MEMBER(IoasMap, size, iommu_ioas_map, size);
SAME_MEMBER(IoasMap, flags, iommu_ioas_map, flags);
SAME_MEMBER(IoasMap, ioas_id, iommu_ioas_map, ioas_id);
SAME_MEMBER(IoasMap, reserved, iommu_ioas_map, __reserved);
SAME_MEMBER(IoasMap, user_va, iommu_ioas_map, user_va);
SAME_MEMBER(IoasMap, length, iommu_ioas_map, length);
SAME_MEMBER(IoasMap, iova, iommu_ioas_map, iova);

SAME_SIZE(IoasMapFile, iommu_ioas_map_file);
SAME_MEMBER(IoasMapFile, size, iommu_ioas_map_file, size);
SAME_MEMBER(IoasMapFile, flags, iommu_ioas_map_file, flags);
SAME_MEMBER(IoasMapFile, ioas_id, iommu_ioas_map_file, ioas_id);
SAME_MEMBER(IoasMapFile, fd, iommu_ioas_map_file, fd);
SAME_MEMBER(IoasMapFile, start, iommu_ioas_map_file, start);
SAME_MEMBER(IoasMapFile, length, iommu_ioas_map_file, length);
SAME_MEMBER(IoasMapFile, iova, iommu_ioas_map_file, iova);

SAME_SIZE(IoasCopy, iommu_ioas_copy);
SAME_MEMBER(IoasCopy, size, iommu_ioas_copy, size);
SAME_MEMBER(IoasCopy, flags, iommu_ioas_copy, flags);
SAME_MEMBER(IoasCopy, dst_ioas_id, iommu_ioas_copy, dst_ioas_id);
SAME_MEMBER(IoasCopy, src_ioas_id, iommu_ioas_copy, src_ioas_id);
SAME_MEMBER(IoasCopy, length, iommu_ioas_copy, length);
SAME_MEMBER(IoasCopy, dst_iova, iommu_ioas_copy, dst_iova);
SAME_MEMBER(IoasCopy, src_iova, iommu_ioas_copy, src_iova);

SAME_SIZE(IoasUnmap, iommu_ioas_unmap);
SAME_MEMBER(IoasUnmap, size, iommu_ioas_unmap, size);
SAME_MEMBER(IoasUnmap, ioas_id, iommu_ioas_unmap, ioas_id);
SAME_MEMBER(IoasUnmap, iova, iommu_ioas_unmap, iova);
SAME_MEMBER(IoasUnmap, length, iommu_ioas_unmap, length);

SAME_SIZE(IoasChangeProcess, iommu_ioas_change_process);
SAME_MEMBER(IoasChangeProcess, size, iommu_ioas_change_process, size);
SAME_MEMBER(IoasChangeProcess, reserved, iommu_ioas_change_process, __reserved);

SAME_SIZE(IoasNoiommuGetPa, iommu_ioas_noiommu_get_pa);
SAME_MEMBER(IoasNoiommuGetPa, size, iommu_ioas_noiommu_get_pa, size);
SAME_MEMBER(IoasNoiommuGetPa, flags, iommu_ioas_noiommu_get_pa, flags);
SAME_MEMBER(IoasNoiommuGetPa, ioas_id, iommu_ioas_noiommu_get_pa, ioas_id);
SAME_MEMBER(IoasNoiommuGetPa, reserved, iommu_ioas_noiommu_get_pa, __reserved);
SAME_MEMBER(IoasNoiommuGetPa, iova, iommu_ioas_noiommu_get_pa, iova);
SAME_MEMBER(IoasNoiommuGetPa, length, iommu_ioas_noiommu_get_pa, length);
SAME_MEMBER(IoasNoiommuGetPa, out_phys, iommu_ioas_noiommu_get_pa, out_phys);

SAME_SIZE(Option, iommu_option);
SAME_MEMBER(Option, size, iommu_option, size);
SAME_MEMBER(Option, option_id, iommu_option, option_id);
SAME_MEMBER(Option, op, iommu_option, op);
SAME_MEMBER(Option, reserved, iommu_option, __reserved);
SAME_MEMBER(Option, object_id, iommu_option, object_id);
SAME_MEMBER(Option, val64, iommu_option, val64);

SAME_SIZE(VfioIoas, iommu_vfio_ioas);
SAME_MEMBER(VfioIoas, size, iommu_vfio_ioas, size);
SAME_MEMBER(VfioIoas, ioas_id, iommu_vfio_ioas, ioas_id);
SAME_MEMBER(VfioIoas, op, iommu_vfio_ioas, op);
SAME_MEMBER(VfioIoas, reserved, iommu_vfio_ioas, __reserved);

SAME_SIZE(HwptAlloc, iommu_hwpt_alloc);
SAME_MEMBER(HwptAlloc, size, iommu_hwpt_alloc, size);
SAME_MEMBER(HwptAlloc, flags, iommu_hwpt_alloc, flags);
SAME_MEMBER(HwptAlloc, dev_id, iommu_hwpt_alloc, dev_id);
SAME_MEMBER(HwptAlloc, pt_id, iommu_hwpt_alloc, pt_id);
SAME_MEMBER(HwptAlloc, out_hwpt_id, iommu_hwpt_alloc, out_hwpt_id);
SAME_MEMBER(HwptAlloc, reserved, iommu_hwpt_alloc, __reserved);
SAME_MEMBER(HwptAlloc, data_type, iommu_hwpt_alloc, data_type);
SAME_MEMBER(HwptAlloc, data_len, iommu_hwpt_alloc, data_len);
SAME_MEMBER(HwptAlloc, data_uptr, iommu_hwpt_alloc, data_uptr);
SAME_MEMBER(HwptAlloc, fault_id, iommu_hwpt_alloc, fault_id);
SAME_MEMBER(HwptAlloc, reserved2, iommu_hwpt_alloc, __reserved2);

SAME_SIZE(HwptVtdS1, iommu_hwpt_vtd_s1);
SAME_MEMBER(HwptVtdS1, flags, iommu_hwpt_vtd_s1, flags);
SAME_MEMBER(HwptVtdS1, pgtbl_addr, iommu_hwpt_vtd_s1, pgtbl_addr);
SAME_MEMBER(HwptVtdS1, addr_width, iommu_hwpt_vtd_s1, addr_width);
SAME_MEMBER(HwptVtdS1, reserved, iommu_hwpt_vtd_s1, __reserved);

SAME_SIZE(HwptArmSmmuv3, iommu_hwpt_arm_smmuv3);
SAME_MEMBER(HwptArmSmmuv3, ste, iommu_hwpt_arm_smmuv3, ste);

SAME_SIZE(HwptAmdGuest, iommu_hwpt_amd_guest);
SAME_MEMBER(HwptAmdGuest, dte, iommu_hwpt_amd_guest, dte);

SAME_SIZE(HwInfo, iommu_hw_info);
SAME_MEMBER(HwInfo, size, iommu_hw_info, size);
SAME_MEMBER(HwInfo, flags, iommu_hw_info, flags);
SAME_MEMBER(HwInfo, dev_id, iommu_hw_info, dev_id);
SAME_MEMBER(HwInfo, data_len, iommu_hw_info, data_len);
SAME_MEMBER(HwInfo, data_uptr, iommu_hw_info, data_uptr);
SAME_MEMBER(HwInfo, data_type, iommu_hw_info, out_data_type);
SAME_MEMBER(HwInfo, out_max_pasid_log2, iommu_hw_info, out_max_pasid_log2);
SAME_MEMBER(HwInfo, reserved, iommu_hw_info, __reserved);
SAME_MEMBER(HwInfo, out_capabilities, iommu_hw_info, out_capabilities);

SAME_SIZE(HwInfoVtd, iommu_hw_info_vtd);
SAME_MEMBER(HwInfoVtd, flags, iommu_hw_info_vtd, flags);
SAME_MEMBER(HwInfoVtd, reserved, iommu_hw_info_vtd, __reserved);
SAME_MEMBER(HwInfoVtd, cap_reg, iommu_hw_info_vtd, cap_reg);
SAME_MEMBER(HwInfoVtd, ecap_reg, iommu_hw_info_vtd, ecap_reg);

SAME_SIZE(HwInfoArmSmmuv3, iommu_hw_info_arm_smmuv3);
SAME_MEMBER(HwInfoArmSmmuv3, flags, iommu_hw_info_arm_smmuv3, flags);
SAME_MEMBER(HwInfoArmSmmuv3, reserved, iommu_hw_info_arm_smmuv3, __reserved);
SAME_MEMBER(HwInfoArmSmmuv3, idr, iommu_hw_info_arm_smmuv3, idr);
SAME_MEMBER(HwInfoArmSmmuv3, iidr, iommu_hw_info_arm_smmuv3, iidr);
SAME_MEMBER(HwInfoArmSmmuv3, aidr, iommu_hw_info_arm_smmuv3, aidr);

SAME_SIZE(HwInfoTegra241Cmdqv, iommu_hw_info_tegra241_cmdqv);
SAME_MEMBER(HwInfoTegra241Cmdqv, flags, iommu_hw_info_tegra241_cmdqv, flags);
SAME_MEMBER(HwInfoTegra241Cmdqv, version, iommu_hw_info_tegra241_cmdqv, version);
SAME_MEMBER(HwInfoTegra241Cmdqv, log2vcmdqs, iommu_hw_info_tegra241_cmdqv, log2vcmdqs);
SAME_MEMBER(HwInfoTegra241Cmdqv, log2vsids, iommu_hw_info_tegra241_cmdqv, log2vsids);
SAME_MEMBER(HwInfoTegra241Cmdqv, reserved, iommu_hw_info_tegra241_cmdqv, __reserved);

SAME_SIZE(HwInfoAmd, iommu_hw_info_amd);
SAME_MEMBER(HwInfoAmd, efr, iommu_hw_info_amd, efr);
SAME_MEMBER(HwInfoAmd, efr2, iommu_hw_info_amd, efr2);

SAME_SIZE(HwptSetDirtyTracking, iommu_hwpt_set_dirty_tracking);
SAME_MEMBER(HwptSetDirtyTracking, size, iommu_hwpt_set_dirty_tracking, size);
SAME_MEMBER(HwptSetDirtyTracking, flags, iommu_hwpt_set_dirty_tracking, flags);
SAME_MEMBER(HwptSetDirtyTracking, hwpt_id, iommu_hwpt_set_dirty_tracking, hwpt_id);
SAME_MEMBER(HwptSetDirtyTracking, reserved, iommu_hwpt_set_dirty_tracking, __reserved);

SAME_SIZE(HwptGetDirtyBitmap, iommu_hwpt_get_dirty_bitmap);
SAME_MEMBER(HwptGetDirtyBitmap, size, iommu_hwpt_get_dirty_bitmap, size);
SAME_MEMBER(HwptGetDirtyBitmap, hwpt_id, iommu_hwpt_get_dirty_bitmap, hwpt_id);
SAME_MEMBER(HwptGetDirtyBitmap, flags, iommu_hwpt_get_dirty_bitmap, flags);
SAME_MEMBER(HwptGetDirtyBitmap, reserved, iommu_hwpt_get_dirty_bitmap, __reserved);
SAME_MEMBER(HwptGetDirtyBitmap, iova, iommu_hwpt_get_dirty_bitmap, iova);
SAME_MEMBER(HwptGetDirtyBitmap, length, iommu_hwpt_get_dirty_bitmap, length);
SAME_MEMBER(HwptGetDirtyBitmap, page_size, iommu_hwpt_get_dirty_bitmap, page_size);
SAME_MEMBER(HwptGetDirtyBitmap, data, iommu_hwpt_get_dirty_bitmap, data);

SAME_SIZE(HwptInvalidate, iommu_hwpt_invalidate);
SAME_MEMBER(HwptInvalidate, size, iommu_hwpt_invalidate, size);
SAME_MEMBER(HwptInvalidate, hwpt_id, iommu_hwpt_invalidate, hwpt_id);
SAME_MEMBER(HwptInvalidate, data_uptr, iommu_hwpt_invalidate, data_uptr);
SAME_MEMBER(HwptInvalidate, data_type, iommu_hwpt_invalidate, data_type);
SAME_MEMBER(HwptInvalidate, entry_len, iommu_hwpt_invalidate, entry_len);
SAME_MEMBER(HwptInvalidate, entry_num, iommu_hwpt_invalidate, entry_num);
SAME_MEMBER(HwptInvalidate, reserved, iommu_hwpt_invalidate, __reserved);

SAME_SIZE(HwptVtdS1Invalidate, iommu_hwpt_vtd_s1_invalidate);
SAME_MEMBER(HwptVtdS1Invalidate, addr, iommu_hwpt_vtd_s1_invalidate, addr);
SAME_MEMBER(HwptVtdS1Invalidate, npages, iommu_hwpt_vtd_s1_invalidate, npages);
SAME_MEMBER(HwptVtdS1Invalidate, flags, iommu_hwpt_vtd_s1_invalidate, flags);
SAME_MEMBER(HwptVtdS1Invalidate, reserved, iommu_hwpt_vtd_s1_invalidate, __reserved);

SAME_SIZE(ViommuArmSmmuv3Invalidate, iommu_viommu_arm_smmuv3_invalidate);
SAME_MEMBER(ViommuArmSmmuv3Invalidate, cmd, iommu_viommu_arm_smmuv3_invalidate, cmd);

SAME_SIZE(FaultQueueAlloc, iommu_fault_alloc);
SAME_MEMBER(FaultQueueAlloc, size, iommu_fault_alloc, size);
SAME_MEMBER(FaultQueueAlloc, flags, iommu_fault_alloc, flags);
SAME_MEMBER(FaultQueueAlloc, out_fault_id, iommu_fault_alloc, out_fault_id);
SAME_MEMBER(FaultQueueAlloc, out_fault_fd, iommu_fault_alloc, out_fault_fd);

SAME_SIZE(HwptPgfault, iommu_hwpt_pgfault);
SAME_MEMBER(HwptPgfault, flags, iommu_hwpt_pgfault, flags);
SAME_MEMBER(HwptPgfault, dev_id, iommu_hwpt_pgfault, dev_id);
SAME_MEMBER(HwptPgfault, pasid, iommu_hwpt_pgfault, pasid);
SAME_MEMBER(HwptPgfault, grpid, iommu_hwpt_pgfault, grpid);
SAME_MEMBER(HwptPgfault, perm, iommu_hwpt_pgfault, perm);
SAME_MEMBER(HwptPgfault, reserved, iommu_hwpt_pgfault, __reserved);
SAME_MEMBER(HwptPgfault, addr, iommu_hwpt_pgfault, addr);
SAME_MEMBER(HwptPgfault, length, iommu_hwpt_pgfault, length);
SAME_MEMBER(HwptPgfault, cookie, iommu_hwpt_pgfault, cookie);

SAME_SIZE(HwptPageResponse, iommu_hwpt_page_response);
SAME_MEMBER(HwptPageResponse, cookie, iommu_hwpt_page_response, cookie);
SAME_MEMBER(HwptPageResponse, code, iommu_hwpt_page_response, code);

SAME_SIZE(ViommuAlloc, iommu_viommu_alloc);
SAME_MEMBER(ViommuAlloc, size, iommu_viommu_alloc, size);
SAME_MEMBER(ViommuAlloc, flags, iommu_viommu_alloc, flags);
SAME_MEMBER(ViommuAlloc, type, iommu_viommu_alloc, type);
SAME_MEMBER(ViommuAlloc, dev_id, iommu_viommu_alloc, dev_id);
SAME_MEMBER(ViommuAlloc, hwpt_id, iommu_viommu_alloc, hwpt_id);
SAME_MEMBER(ViommuAlloc, out_viommu_id, iommu_viommu_alloc, out_viommu_id);
SAME_MEMBER(ViommuAlloc, data_len, iommu_viommu_alloc, data_len);
SAME_MEMBER(ViommuAlloc, reserved, iommu_viommu_alloc, __reserved);
SAME_MEMBER(ViommuAlloc, data_uptr, iommu_viommu_alloc, data_uptr);

SAME_SIZE(ViommuTegra241Cmdqv, iommu_viommu_tegra241_cmdqv);
SAME_MEMBER(ViommuTegra241Cmdqv, out_vintf_mmap_offset, iommu_viommu_tegra241_cmdqv, out_vintf_mmap_offset);
SAME_MEMBER(ViommuTegra241Cmdqv, out_vintf_mmap_length, iommu_viommu_tegra241_cmdqv, out_vintf_mmap_length);

SAME_SIZE(VdeviceAlloc, iommu_vdevice_alloc);
SAME_MEMBER(VdeviceAlloc, size, iommu_vdevice_alloc, size);
SAME_MEMBER(VdeviceAlloc, viommu_id, iommu_vdevice_alloc, viommu_id);
SAME_MEMBER(VdeviceAlloc, dev_id, iommu_vdevice_alloc, dev_id);
SAME_MEMBER(VdeviceAlloc, out_vdevice_id, iommu_vdevice_alloc, out_vdevice_id);
SAME_MEMBER(VdeviceAlloc, virt_id, iommu_vdevice_alloc, virt_id);

SAME_SIZE(VeventqAlloc, iommu_veventq_alloc);
SAME_MEMBER(VeventqAlloc, size, iommu_veventq_alloc, size);
SAME_MEMBER(VeventqAlloc, flags, iommu_veventq_alloc, flags);
SAME_MEMBER(VeventqAlloc, viommu_id, iommu_veventq_alloc, viommu_id);
SAME_MEMBER(VeventqAlloc, type, iommu_veventq_alloc, type);
SAME_MEMBER(VeventqAlloc, veventq_depth, iommu_veventq_alloc, veventq_depth);
SAME_MEMBER(VeventqAlloc, out_veventq_id, iommu_veventq_alloc, out_veventq_id);
SAME_MEMBER(VeventqAlloc, out_veventq_fd, iommu_veventq_alloc, out_veventq_fd);
SAME_MEMBER(VeventqAlloc, reserved, iommu_veventq_alloc, __reserved);

SAME_SIZE(VeventHeader, iommufd_vevent_header);
SAME_MEMBER(VeventHeader, flags, iommufd_vevent_header, flags);
SAME_MEMBER(VeventHeader, sequence, iommufd_vevent_header, sequence);

SAME_SIZE(VeventArmSmmuv3, iommu_vevent_arm_smmuv3);
SAME_MEMBER(VeventArmSmmuv3, evt, iommu_vevent_arm_smmuv3, evt);

SAME_SIZE(VeventTegra241Cmdqv, iommu_vevent_tegra241_cmdqv);
SAME_MEMBER(VeventTegra241Cmdqv, lvcmdq_err_map, iommu_vevent_tegra241_cmdqv, lvcmdq_err_map);

SAME_SIZE(HwQueueAlloc, iommu_hw_queue_alloc);
SAME_MEMBER(HwQueueAlloc, size, iommu_hw_queue_alloc, size);
SAME_MEMBER(HwQueueAlloc, flags, iommu_hw_queue_alloc, flags);
SAME_MEMBER(HwQueueAlloc, viommu_id, iommu_hw_queue_alloc, viommu_id);
SAME_MEMBER(HwQueueAlloc, type, iommu_hw_queue_alloc, type);
SAME_MEMBER(HwQueueAlloc, index, iommu_hw_queue_alloc, index);
SAME_MEMBER(HwQueueAlloc, out_hw_queue_id, iommu_hw_queue_alloc, out_hw_queue_id);
SAME_MEMBER(HwQueueAlloc, nesting_parent_iova, iommu_hw_queue_alloc, nesting_parent_iova);
SAME_MEMBER(HwQueueAlloc, length, iommu_hw_queue_alloc, length);

SAME_MEMBER(HwInfo, data_type, iommu_hw_info, in_data_type);

}  // namespace
}  // namespace iommufd::uapi
