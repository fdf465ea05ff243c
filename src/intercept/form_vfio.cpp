// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ioctls of VFIO devices.
#include "intercept/form.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

using namespace uapi::vfio;

constexpr Name kDeviceBits[] = {
    {kDeviceFlagReset, "RESET"}, {kDeviceFlagPci, "PCI"}, {kDeviceFlagCaps, "CAPS"}};
constexpr Names kDevice{"VFIO_DEVICE_FLAGS_", kDeviceBits};
constexpr Name kRegionBits[] = {
    {kRegionRead, "READ"}, {kRegionWrite, "WRITE"}, {kRegionMmap, "MMAP"}, {kRegionCaps, "CAPS"}};
constexpr Names kRegion{"VFIO_REGION_INFO_FLAG_", kRegionBits};
constexpr Name kRegionIndexes[] = {{kPciBar0, "BAR0_REGION_INDEX"}, {1, "BAR1_REGION_INDEX"},
                                   {2, "BAR2_REGION_INDEX"},        {3, "BAR3_REGION_INDEX"},
                                   {4, "BAR4_REGION_INDEX"},        {5, "BAR5_REGION_INDEX"},
                                   {kPciRom, "ROM_REGION_INDEX"},   {kPciConfig, "CONFIG_REGION_INDEX"},
                                   {kPciVga, "VGA_REGION_INDEX"}};
constexpr Names kRegionIndex{"VFIO_PCI_", kRegionIndexes};
constexpr Name kIrqBits[] = {{kIrqEventfd, "EVENTFD"},
                             {kIrqMaskable, "MASKABLE"},
                             {kIrqAutomasked, "AUTOMASKED"},
                             {kIrqNoresize, "NORESIZE"}};
constexpr Names kIrq{"VFIO_IRQ_INFO_", kIrqBits};
constexpr Name kIrqIndexes[] = {
    {kPciIntx, "INTX"}, {kPciMsi, "MSI"}, {kPciMsix, "MSIX"}, {kPciErr, "ERR"}, {kPciReq, "REQ"}};
constexpr Names kIrqIndex{"VFIO_PCI_IRQ_", kIrqIndexes};
constexpr Name kIrqSetBits[] = {{kIrqSetDataNone, "DATA_NONE"},       {kIrqSetDataBool, "DATA_BOOL"},
                                {kIrqSetDataEventfd, "DATA_EVENTFD"}, {kIrqSetMask, "ACTION_MASK"},
                                {kIrqSetUnmask, "ACTION_UNMASK"},     {kIrqSetTrigger, "ACTION_TRIGGER"}};
constexpr Names kIrqSet{"VFIO_IRQ_SET_", kIrqSetBits};
constexpr Name kHotResetBits[] = {{kHotResetDevId, "DEV_ID"}, {kHotResetDevIdOwned, "DEV_ID_OWNED"}};
constexpr Names kHotReset{"VFIO_PCI_HOT_RESET_FLAG_", kHotResetBits};
constexpr Name kBindBits[] = {{kBindToken, "TOKEN"}};
constexpr Names kBind{"VFIO_DEVICE_BIND_FLAG_", kBindBits};
constexpr Name kAttachBits[] = {{kAttachPasid, "PASID"}};
constexpr Names kAttach{"VFIO_DEVICE_ATTACH_", kAttachBits};
constexpr Names kDetach{"VFIO_DEVICE_DETACH_", kAttachBits};
constexpr Name kPrecopyBits[] = {{kPrecopyInfoReinit, "REINIT"}};
constexpr Names kPrecopy{"VFIO_PRECOPY_INFO_", kPrecopyBits};
// The feature is a number in the lower bits: the highest first, which is then found before those whose bits it has.
constexpr Name kFeatureBits[] = {{kFeatureGet, "GET"},
                                 {kFeatureSet, "SET"},
                                 {kFeatureProbe, "PROBE"},
                                 {kFeatureZpciError, "ZPCI_ERROR"},
                                 {kFeatureMigPrecopyInfoV2, "MIG_PRECOPY_INFOv2"},
                                 {kFeatureDmaBuf, "DMA_BUF"},
                                 {kFeatureBusMaster, "BUS_MASTER"},
                                 {kFeatureMigDataSize, "MIG_DATA_SIZE"},
                                 {kFeatureDmaLoggingReport, "DMA_LOGGING_REPORT"},
                                 {kFeatureDmaLoggingStop, "DMA_LOGGING_STOP"},
                                 {kFeatureDmaLoggingStart, "DMA_LOGGING_START"},
                                 {kFeatureLowPowerExit, "LOW_POWER_EXIT"},
                                 {kFeatureLowPowerEntryWithWakeup, "LOW_POWER_ENTRY_WITH_WAKEUP"},
                                 {kFeatureLowPowerEntry, "LOW_POWER_ENTRY"},
                                 {kFeatureMigDeviceState, "MIG_DEVICE_STATE"},
                                 {kFeatureMigration, "MIGRATION"}};
constexpr Names kFeature{"VFIO_DEVICE_FEATURE_", kFeatureBits};
constexpr Names kNoBits{};

constexpr Field info[] = {
    IOMMUFD_FIELD(DeviceInfo, argsz, own_size),     IOMMUFD_FIELD(DeviceInfo, flags, bits, &kDevice),
    IOMMUFD_FIELD(DeviceInfo, num_regions, number), IOMMUFD_FIELD(DeviceInfo, num_irqs, number),
    IOMMUFD_FIELD(DeviceInfo, cap_offset, number),  IOMMUFD_FIELD(DeviceInfo, pad, rest)};
constexpr Field region_info[] = {IOMMUFD_FIELD(RegionInfo, argsz, own_size),
                                 IOMMUFD_FIELD(RegionInfo, flags, bits, &kRegion),
                                 IOMMUFD_FIELD(RegionInfo, index, value, &kRegionIndex),
                                 IOMMUFD_FIELD(RegionInfo, cap_offset, number),
                                 IOMMUFD_FIELD(RegionInfo, size, address),
                                 IOMMUFD_FIELD(RegionInfo, offset, address)};
constexpr Field irq_info[] = {
    IOMMUFD_FIELD(IrqInfo, argsz, own_size), IOMMUFD_FIELD(IrqInfo, flags, bits, &kIrq),
    IOMMUFD_FIELD(IrqInfo, index, value, &kIrqIndex), IOMMUFD_FIELD(IrqInfo, count, number)};
constexpr Field irqs[] = {IOMMUFD_FIELD(IrqSet, argsz, number), IOMMUFD_FIELD(IrqSet, flags, bits, &kIrqSet),
                          IOMMUFD_FIELD(IrqSet, index, value, &kIrqIndex),
                          IOMMUFD_FIELD(IrqSet, start, number), IOMMUFD_FIELD(IrqSet, count, number)};
constexpr Field hot_reset_info[] = {IOMMUFD_FIELD(PciHotResetInfo, argsz, number),
                                    IOMMUFD_FIELD(PciHotResetInfo, flags, bits, &kHotReset),
                                    IOMMUFD_FIELD(PciHotResetInfo, count, number)};
constexpr Field hot_reset[] = {IOMMUFD_FIELD(PciHotReset, argsz, number),
                               IOMMUFD_FIELD(PciHotReset, flags, bits, &kNoBits),
                               IOMMUFD_FIELD(PciHotReset, count, number)};
constexpr Field ioeventfd[] = {
    IOMMUFD_FIELD(DeviceIoeventfd, argsz, own_size), IOMMUFD_FIELD(DeviceIoeventfd, flags, number),
    IOMMUFD_FIELD(DeviceIoeventfd, offset, address), IOMMUFD_FIELD(DeviceIoeventfd, data, address),
    IOMMUFD_FIELD(DeviceIoeventfd, fd, descriptor),  IOMMUFD_FIELD(DeviceIoeventfd, reserved, rest)};
constexpr Field feature[] = {IOMMUFD_FIELD(DeviceFeature, argsz, number),
                             IOMMUFD_FIELD(DeviceFeature, flags, bits, &kFeature)};
constexpr Field bind[] = {IOMMUFD_FIELD(DeviceBindIommufd, argsz, own_size),
                          IOMMUFD_FIELD(DeviceBindIommufd, flags, bits, &kBind),
                          IOMMUFD_FIELD(DeviceBindIommufd, iommufd, descriptor),
                          IOMMUFD_FIELD(DeviceBindIommufd, out_devid, number),
                          IOMMUFD_FIELD(DeviceBindIommufd, token_uuid_ptr, address)};
constexpr Field attach[] = {IOMMUFD_FIELD(DeviceAttachIommufdPt, argsz, own_size),
                            IOMMUFD_FIELD(DeviceAttachIommufdPt, flags, bits, &kAttach),
                            IOMMUFD_FIELD(DeviceAttachIommufdPt, pt_id, number),
                            IOMMUFD_FIELD(DeviceAttachIommufdPt, pasid, number)};
constexpr Field detach[] = {IOMMUFD_FIELD(DeviceDetachIommufdPt, argsz, own_size),
                            IOMMUFD_FIELD(DeviceDetachIommufdPt, flags, bits, &kDetach),
                            IOMMUFD_FIELD(DeviceDetachIommufdPt, pasid, number)};
constexpr Field precopy_info[] = {
    IOMMUFD_FIELD(PrecopyInfo, argsz, own_size), IOMMUFD_FIELD(PrecopyInfo, flags, bits, &kPrecopy),
    IOMMUFD_FIELD(PrecopyInfo, initial_bytes, number), IOMMUFD_FIELD(PrecopyInfo, dirty_bytes, number)};

constexpr Form kForms[] = {
    {kDeviceGetInfo, "VFIO_DEVICE_GET_INFO", sizeof(DeviceInfo), info, true},
    {kDeviceGetRegionInfo, "VFIO_DEVICE_GET_REGION_INFO", sizeof(RegionInfo), region_info, true},
    {kDeviceGetIrqInfo, "VFIO_DEVICE_GET_IRQ_INFO", sizeof(IrqInfo), irq_info, true},
    {kDeviceSetIrqs, "VFIO_DEVICE_SET_IRQS", sizeof(IrqSet), irqs, true},
    {kDeviceReset, "VFIO_DEVICE_RESET", 0, {}, false},
    {kDeviceGetPciHotResetInfo, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", sizeof(PciHotResetInfo), hot_reset_info,
     true},
    {kDevicePciHotReset, "VFIO_DEVICE_PCI_HOT_RESET", sizeof(PciHotReset), hot_reset, true},
    {kDeviceIoeventfd, "VFIO_DEVICE_IOEVENTFD", sizeof(DeviceIoeventfd), ioeventfd, true},
    {kDeviceFeature, "VFIO_DEVICE_FEATURE", sizeof(DeviceFeature), feature, true},
    {kDeviceBindIommufd, "VFIO_DEVICE_BIND_IOMMUFD", sizeof(DeviceBindIommufd), bind, true},
    {kDeviceAttachIommufdPt, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", sizeof(DeviceAttachIommufdPt), attach, true},
    {kDeviceDetachIommufdPt, "VFIO_DEVICE_DETACH_IOMMUFD_PT", sizeof(DeviceDetachIommufdPt), detach, true},
    {kMigGetPrecopyInfo, "VFIO_MIG_GET_PRECOPY_INFO", sizeof(PrecopyInfo), precopy_info, true},
};

}  // namespace

std::span<const Form> vfio_forms() noexcept { return kForms; }

std::string show_position(std::uint64_t position, std::uint64_t first) {
    constexpr unsigned kRegionShift = 40;
    if (position < first) return show_address(position);
    const std::uint64_t place = position - first;
    const std::uint64_t offset = place & ((std::uint64_t{1} << kRegionShift) - 1);
    return show_value(place >> kRegionShift, kRegionIndex) + '+' + show_address(offset);
}

}  // namespace iommufd::inline v0_1::intercept
