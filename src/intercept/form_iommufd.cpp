// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The commands of /dev/iommu, and the ioctls of VFIO's type 1 that it emulates.
#include "intercept/form.hpp"
#include "uapi/commands.hpp"
#include "uapi/iommufd_test.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

using namespace uapi;

constexpr Name kMapBits[] = {
    {kMapFixedIova, "FIXED_IOVA"}, {kMapWriteable, "WRITEABLE"}, {kMapReadable, "READABLE"}};
constexpr Names kMap{"IOMMU_IOAS_MAP_", kMapBits};
constexpr Name kOptionValues[] = {{kOptionRlimitMode, "RLIMIT_MODE"}, {kOptionHugePages, "HUGE_PAGES"}};
constexpr Names kOptions{"IOMMU_OPTION_", kOptionValues};
constexpr Name kOptionOps[] = {{kOptionSet, "SET"}, {kOptionGet, "GET"}};
constexpr Names kOptionOp{"IOMMU_OPTION_OP_", kOptionOps};
constexpr Name kVfioIoasOps[] = {{kVfioIoasGet, "GET"}, {kVfioIoasSet, "SET"}, {kVfioIoasClear, "CLEAR"}};
constexpr Names kVfioIoasOp{"IOMMU_VFIO_IOAS_", kVfioIoasOps};
constexpr Name kHwptBits[] = {{kHwptNestParent, "ALLOC_NEST_PARENT"},
                              {kHwptDirtyTracking, "ALLOC_DIRTY_TRACKING"},
                              {kHwptFaultIdValid, "FAULT_ID_VALID"},
                              {kHwptPasid, "ALLOC_PASID"}};
constexpr Names kHwpt{"IOMMU_HWPT_", kHwptBits};
constexpr Name kHwptDataValues[] = {{kHwptDataNone, "NONE"},
                                    {kHwptDataVtdS1, "VTD_S1"},
                                    {kHwptDataArmSmmuv3, "ARM_SMMUV3"},
                                    {kHwptDataAmdGuest, "AMD_GUEST"},
                                    {mock::kHwptDataSelftest, "SELFTEST"}};
constexpr Names kHwptData{"IOMMU_HWPT_DATA_", kHwptDataValues};
constexpr Name kHwInfoBits[] = {{kHwInfoInputType, "INPUT_TYPE"}};
constexpr Names kHwInfo{"IOMMU_HW_INFO_FLAG_", kHwInfoBits};
constexpr Name kHwInfoTypes[] = {{kHwInfoNone, "NONE"},
                                 {kHwInfoVtd, "INTEL_VTD"},
                                 {kHwInfoArmSmmuv3, "ARM_SMMUV3"},
                                 {kHwInfoTegra241Cmdqv, "TEGRA241_CMDQV"},
                                 {kHwInfoAmd, "AMD"},
                                 {mock::kHwInfoSelftest, "SELFTEST"}};
constexpr Names kHwInfoType{"IOMMU_HW_INFO_TYPE_", kHwInfoTypes};
constexpr Name kHwCapBits[] = {{kHwCapDirtyTracking, "DIRTY_TRACKING"},
                               {kHwCapPasidExec, "PCI_PASID_EXEC"},
                               {kHwCapPasidPriv, "PCI_PASID_PRIV"},
                               {kHwCapAtsNotSupported, "PCI_ATS_NOT_SUPPORTED"}};
constexpr Names kHwCap{"IOMMU_HW_CAP_", kHwCapBits};
constexpr Name kSetDirtyBits[] = {{kDirtyTrackingEnable, "ENABLE"}};
constexpr Names kSetDirty{"IOMMU_HWPT_DIRTY_TRACKING_", kSetDirtyBits};
constexpr Name kBitmapBits[] = {{kDirtyBitmapNoClear, "NO_CLEAR"}};
constexpr Names kBitmap{"IOMMU_HWPT_GET_DIRTY_BITMAP_", kBitmapBits};
constexpr Names kNoBits{};

constexpr Field destroy[] = {IOMMUFD_FIELD(Destroy, size, own_size), IOMMUFD_FIELD(Destroy, id, number)};
constexpr Field ioas_alloc[] = {IOMMUFD_FIELD(IoasAlloc, size, own_size),
                                IOMMUFD_FIELD(IoasAlloc, flags, bits, &kNoBits),
                                IOMMUFD_FIELD(IoasAlloc, out_ioas_id, number)};
constexpr Field ioas_allow_iovas[] = {
    IOMMUFD_FIELD(IoasAllowIovas, size, own_size), IOMMUFD_FIELD(IoasAllowIovas, ioas_id, number),
    IOMMUFD_FIELD(IoasAllowIovas, num_iovas, number), IOMMUFD_FIELD(IoasAllowIovas, reserved, rest),
    IOMMUFD_FIELD(IoasAllowIovas, allowed_iovas, address)};
constexpr Field ioas_copy[] = {
    IOMMUFD_FIELD(IoasCopy, size, own_size),      IOMMUFD_FIELD(IoasCopy, flags, bits, &kMap),
    IOMMUFD_FIELD(IoasCopy, dst_ioas_id, number), IOMMUFD_FIELD(IoasCopy, src_ioas_id, number),
    IOMMUFD_FIELD(IoasCopy, length, address),     IOMMUFD_FIELD(IoasCopy, dst_iova, address),
    IOMMUFD_FIELD(IoasCopy, src_iova, address)};
constexpr Field ioas_iova_ranges[] = {IOMMUFD_FIELD(IoasIovaRanges, size, own_size),
                                      IOMMUFD_FIELD(IoasIovaRanges, ioas_id, number),
                                      IOMMUFD_FIELD(IoasIovaRanges, num_iovas, number),
                                      IOMMUFD_FIELD(IoasIovaRanges, reserved, rest),
                                      IOMMUFD_FIELD(IoasIovaRanges, allowed_iovas, address),
                                      IOMMUFD_FIELD(IoasIovaRanges, out_iova_alignment, address)};
constexpr Field ioas_map[] = {
    IOMMUFD_FIELD(IoasMap, size, own_size),   IOMMUFD_FIELD(IoasMap, flags, bits, &kMap),
    IOMMUFD_FIELD(IoasMap, ioas_id, number),  IOMMUFD_FIELD(IoasMap, reserved, rest),
    IOMMUFD_FIELD(IoasMap, user_va, address), IOMMUFD_FIELD(IoasMap, length, address),
    IOMMUFD_FIELD(IoasMap, iova, address)};
constexpr Field ioas_unmap[] = {
    IOMMUFD_FIELD(IoasUnmap, size, own_size), IOMMUFD_FIELD(IoasUnmap, ioas_id, number),
    IOMMUFD_FIELD(IoasUnmap, iova, address), IOMMUFD_FIELD(IoasUnmap, length, address)};
constexpr Field option[] = {
    IOMMUFD_FIELD(Option, size, own_size),        IOMMUFD_FIELD(Option, option_id, value, &kOptions),
    IOMMUFD_FIELD(Option, op, value, &kOptionOp), IOMMUFD_FIELD(Option, reserved, rest),
    IOMMUFD_FIELD(Option, object_id, number),     IOMMUFD_FIELD(Option, val64, number)};
constexpr Field vfio_ioas[] = {
    IOMMUFD_FIELD(VfioIoas, size, own_size), IOMMUFD_FIELD(VfioIoas, ioas_id, number),
    IOMMUFD_FIELD(VfioIoas, op, value, &kVfioIoasOp), IOMMUFD_FIELD(VfioIoas, reserved, rest)};
constexpr Field hwpt_alloc[] = {IOMMUFD_FIELD(HwptAlloc, size, own_size),
                                IOMMUFD_FIELD(HwptAlloc, flags, bits, &kHwpt),
                                IOMMUFD_FIELD(HwptAlloc, dev_id, number),
                                IOMMUFD_FIELD(HwptAlloc, pt_id, number),
                                IOMMUFD_FIELD(HwptAlloc, out_hwpt_id, number),
                                IOMMUFD_FIELD(HwptAlloc, reserved, rest),
                                IOMMUFD_FIELD(HwptAlloc, data_type, value, &kHwptData),
                                IOMMUFD_FIELD(HwptAlloc, data_len, number),
                                IOMMUFD_FIELD(HwptAlloc, data_uptr, address),
                                IOMMUFD_FIELD(HwptAlloc, fault_id, number),
                                IOMMUFD_FIELD(HwptAlloc, reserved2, rest)};
constexpr Field get_hw_info[] = {IOMMUFD_FIELD(HwInfo, size, own_size),
                                 IOMMUFD_FIELD(HwInfo, flags, bits, &kHwInfo),
                                 IOMMUFD_FIELD(HwInfo, dev_id, number),
                                 IOMMUFD_FIELD(HwInfo, data_len, number),
                                 IOMMUFD_FIELD(HwInfo, data_uptr, address),
                                 IOMMUFD_FIELD(HwInfo, data_type, value, &kHwInfoType),
                                 IOMMUFD_FIELD(HwInfo, out_max_pasid_log2, number),
                                 IOMMUFD_FIELD(HwInfo, out_capabilities, bits, &kHwCap)};
constexpr Field hwpt_set_dirty_tracking[] = {IOMMUFD_FIELD(HwptSetDirtyTracking, size, own_size),
                                             IOMMUFD_FIELD(HwptSetDirtyTracking, flags, bits, &kSetDirty),
                                             IOMMUFD_FIELD(HwptSetDirtyTracking, hwpt_id, number),
                                             IOMMUFD_FIELD(HwptSetDirtyTracking, reserved, rest)};
constexpr Field hwpt_get_dirty_bitmap[] = {IOMMUFD_FIELD(HwptGetDirtyBitmap, size, own_size),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, hwpt_id, number),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, flags, bits, &kBitmap),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, reserved, rest),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, iova, address),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, length, address),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, page_size, address),
                                           IOMMUFD_FIELD(HwptGetDirtyBitmap, data, address)};
constexpr Field hwpt_invalidate[] = {
    IOMMUFD_FIELD(HwptInvalidate, size, own_size),     IOMMUFD_FIELD(HwptInvalidate, hwpt_id, number),
    IOMMUFD_FIELD(HwptInvalidate, data_uptr, address), IOMMUFD_FIELD(HwptInvalidate, data_type, address),
    IOMMUFD_FIELD(HwptInvalidate, entry_len, number),  IOMMUFD_FIELD(HwptInvalidate, entry_num, number),
    IOMMUFD_FIELD(HwptInvalidate, reserved, rest)};
constexpr Field fault_queue_alloc[] = {IOMMUFD_FIELD(FaultQueueAlloc, size, own_size),
                                       IOMMUFD_FIELD(FaultQueueAlloc, flags, bits, &kNoBits),
                                       IOMMUFD_FIELD(FaultQueueAlloc, out_fault_id, number),
                                       IOMMUFD_FIELD(FaultQueueAlloc, out_fault_fd, descriptor)};
constexpr Field ioas_map_file[] = {
    IOMMUFD_FIELD(IoasMapFile, size, own_size),  IOMMUFD_FIELD(IoasMapFile, flags, bits, &kMap),
    IOMMUFD_FIELD(IoasMapFile, ioas_id, number), IOMMUFD_FIELD(IoasMapFile, fd, descriptor),
    IOMMUFD_FIELD(IoasMapFile, start, address),  IOMMUFD_FIELD(IoasMapFile, length, address),
    IOMMUFD_FIELD(IoasMapFile, iova, address)};
constexpr Field viommu_alloc[] = {
    IOMMUFD_FIELD(ViommuAlloc, size, own_size),    IOMMUFD_FIELD(ViommuAlloc, flags, bits, &kNoBits),
    IOMMUFD_FIELD(ViommuAlloc, type, address),     IOMMUFD_FIELD(ViommuAlloc, dev_id, number),
    IOMMUFD_FIELD(ViommuAlloc, hwpt_id, number),   IOMMUFD_FIELD(ViommuAlloc, out_viommu_id, number),
    IOMMUFD_FIELD(ViommuAlloc, data_len, number),  IOMMUFD_FIELD(ViommuAlloc, reserved, rest),
    IOMMUFD_FIELD(ViommuAlloc, data_uptr, address)};
constexpr Field vdevice_alloc[] = {
    IOMMUFD_FIELD(VdeviceAlloc, size, own_size), IOMMUFD_FIELD(VdeviceAlloc, viommu_id, number),
    IOMMUFD_FIELD(VdeviceAlloc, dev_id, number), IOMMUFD_FIELD(VdeviceAlloc, out_vdevice_id, number),
    IOMMUFD_FIELD(VdeviceAlloc, virt_id, address)};
constexpr Field ioas_change_process[] = {IOMMUFD_FIELD(IoasChangeProcess, size, own_size),
                                         IOMMUFD_FIELD(IoasChangeProcess, reserved, rest)};
constexpr Field veventq_alloc[] = {IOMMUFD_FIELD(VeventqAlloc, size, own_size),
                                   IOMMUFD_FIELD(VeventqAlloc, flags, bits, &kNoBits),
                                   IOMMUFD_FIELD(VeventqAlloc, viommu_id, number),
                                   IOMMUFD_FIELD(VeventqAlloc, type, address),
                                   IOMMUFD_FIELD(VeventqAlloc, veventq_depth, number),
                                   IOMMUFD_FIELD(VeventqAlloc, out_veventq_id, number),
                                   IOMMUFD_FIELD(VeventqAlloc, out_veventq_fd, descriptor),
                                   IOMMUFD_FIELD(VeventqAlloc, reserved, rest)};
constexpr Field hw_queue_alloc[] = {IOMMUFD_FIELD(HwQueueAlloc, size, own_size),
                                    IOMMUFD_FIELD(HwQueueAlloc, flags, bits, &kNoBits),
                                    IOMMUFD_FIELD(HwQueueAlloc, viommu_id, number),
                                    IOMMUFD_FIELD(HwQueueAlloc, type, address),
                                    IOMMUFD_FIELD(HwQueueAlloc, index, number),
                                    IOMMUFD_FIELD(HwQueueAlloc, out_hw_queue_id, number),
                                    IOMMUFD_FIELD(HwQueueAlloc, nesting_parent_iova, address),
                                    IOMMUFD_FIELD(HwQueueAlloc, length, address)};
constexpr Field ioas_noiommu_get_pa[] = {
    IOMMUFD_FIELD(IoasNoiommuGetPa, size, own_size),   IOMMUFD_FIELD(IoasNoiommuGetPa, flags, bits, &kNoBits),
    IOMMUFD_FIELD(IoasNoiommuGetPa, ioas_id, number),  IOMMUFD_FIELD(IoasNoiommuGetPa, reserved, rest),
    IOMMUFD_FIELD(IoasNoiommuGetPa, iova, address),    IOMMUFD_FIELD(IoasNoiommuGetPa, length, address),
    IOMMUFD_FIELD(IoasNoiommuGetPa, out_phys, address)};
constexpr Field test[] = {IOMMUFD_FIELD(mock::TestCmd, size, own_size),
                          IOMMUFD_FIELD(mock::TestCmd, op, number), IOMMUFD_FIELD(mock::TestCmd, id, number),
                          IOMMUFD_FIELD(mock::TestCmd, reserved, rest)};

constexpr Name kInfoBits[] = {{vfio::kIommuInfoPgsizes, "PGSIZES"}, {vfio::kIommuInfoCaps, "CAPS"}};
constexpr Names kInfo{"VFIO_IOMMU_INFO_", kInfoBits};
constexpr Name kDmaBits[] = {{vfio::kDmaMapRead, "READ"}, {vfio::kDmaMapWrite, "WRITE"}};
constexpr Names kDma{"VFIO_DMA_MAP_FLAG_", kDmaBits};
constexpr Name kDmaUnmapBits[] = {{vfio::kDmaUnmapAll, "ALL"}};
constexpr Names kDmaUnmap{"VFIO_DMA_UNMAP_FLAG_", kDmaUnmapBits};

constexpr Field type1_info[] = {IOMMUFD_FIELD(vfio::IommuType1Info, argsz, own_size),
                                IOMMUFD_FIELD(vfio::IommuType1Info, flags, bits, &kInfo),
                                IOMMUFD_FIELD(vfio::IommuType1Info, iova_pgsizes, address),
                                IOMMUFD_FIELD(vfio::IommuType1Info, cap_offset, number),
                                IOMMUFD_FIELD(vfio::IommuType1Info, pad, rest)};
constexpr Field type1_map[] = {IOMMUFD_FIELD(vfio::IommuType1DmaMap, argsz, own_size),
                               IOMMUFD_FIELD(vfio::IommuType1DmaMap, flags, bits, &kDma),
                               IOMMUFD_FIELD(vfio::IommuType1DmaMap, vaddr, address),
                               IOMMUFD_FIELD(vfio::IommuType1DmaMap, iova, address),
                               IOMMUFD_FIELD(vfio::IommuType1DmaMap, size, address)};
constexpr Field type1_unmap[] = {IOMMUFD_FIELD(vfio::IommuType1DmaUnmap, argsz, own_size),
                                 IOMMUFD_FIELD(vfio::IommuType1DmaUnmap, flags, bits, &kDmaUnmap),
                                 IOMMUFD_FIELD(vfio::IommuType1DmaUnmap, iova, address),
                                 IOMMUFD_FIELD(vfio::IommuType1DmaUnmap, size, address)};

constexpr Form kForms[] = {
    {kDestroy, "IOMMU_DESTROY", sizeof(Destroy), destroy, true},
    {kIoasAlloc, "IOMMU_IOAS_ALLOC", sizeof(IoasAlloc), ioas_alloc, true},
    {kIoasAllowIovas, "IOMMU_IOAS_ALLOW_IOVAS", sizeof(IoasAllowIovas), ioas_allow_iovas, true},
    {kIoasCopy, "IOMMU_IOAS_COPY", sizeof(IoasCopy), ioas_copy, true},
    {kIoasIovaRanges, "IOMMU_IOAS_IOVA_RANGES", sizeof(IoasIovaRanges), ioas_iova_ranges, true},
    {kIoasMap, "IOMMU_IOAS_MAP", sizeof(IoasMap), ioas_map, true},
    {kIoasUnmap, "IOMMU_IOAS_UNMAP", sizeof(IoasUnmap), ioas_unmap, true},
    {kOption, "IOMMU_OPTION", sizeof(Option), option, true},
    {kVfioIoas, "IOMMU_VFIO_IOAS", sizeof(VfioIoas), vfio_ioas, true},
    {kHwptAlloc, "IOMMU_HWPT_ALLOC", sizeof(HwptAlloc), hwpt_alloc, true},
    {kGetHwInfo, "IOMMU_GET_HW_INFO", sizeof(HwInfo), get_hw_info, true},
    {kHwptSetDirtyTracking, "IOMMU_HWPT_SET_DIRTY_TRACKING", sizeof(HwptSetDirtyTracking),
     hwpt_set_dirty_tracking, true},
    {kHwptGetDirtyBitmap, "IOMMU_HWPT_GET_DIRTY_BITMAP", sizeof(HwptGetDirtyBitmap), hwpt_get_dirty_bitmap,
     true},
    {kHwptInvalidate, "IOMMU_HWPT_INVALIDATE", sizeof(HwptInvalidate), hwpt_invalidate, true},
    {kFaultQueueAlloc, "IOMMU_FAULT_QUEUE_ALLOC", sizeof(FaultQueueAlloc), fault_queue_alloc, true},
    {kIoasMapFile, "IOMMU_IOAS_MAP_FILE", sizeof(IoasMapFile), ioas_map_file, true},
    {kViommuAlloc, "IOMMU_VIOMMU_ALLOC", sizeof(ViommuAlloc), viommu_alloc, true},
    {kVdeviceAlloc, "IOMMU_VDEVICE_ALLOC", sizeof(VdeviceAlloc), vdevice_alloc, true},
    {kIoasChangeProcess, "IOMMU_IOAS_CHANGE_PROCESS", sizeof(IoasChangeProcess), ioas_change_process, true},
    {kVeventqAlloc, "IOMMU_VEVENTQ_ALLOC", sizeof(VeventqAlloc), veventq_alloc, true},
    {kHwQueueAlloc, "IOMMU_HW_QUEUE_ALLOC", sizeof(HwQueueAlloc), hw_queue_alloc, true},
    {kIoasNoiommuGetPa, "IOMMU_IOAS_NOIOMMU_GET_PA", sizeof(IoasNoiommuGetPa), ioas_noiommu_get_pa, true},
    {mock::kTest, "IOMMU_TEST_CMD", sizeof(mock::TestCmd), test, true},
    {vfio::kGetApiVersion, "VFIO_GET_API_VERSION", 0, {}, false},
    {vfio::kCheckExtension, "VFIO_CHECK_EXTENSION", 0, {}, false},
    {vfio::kSetIommu, "VFIO_SET_IOMMU", 0, {}, false},
    {vfio::kIommuGetInfo, "VFIO_IOMMU_GET_INFO", sizeof(vfio::IommuType1Info), type1_info, true},
    {vfio::kIommuMapDma, "VFIO_IOMMU_MAP_DMA", sizeof(vfio::IommuType1DmaMap), type1_map, true},
    {vfio::kIommuUnmapDma, "VFIO_IOMMU_UNMAP_DMA", sizeof(vfio::IommuType1DmaUnmap), type1_unmap, true},
};

}  // namespace

std::span<const Form> iommufd_forms() noexcept { return kForms; }

}  // namespace iommufd::inline v0_1::intercept
