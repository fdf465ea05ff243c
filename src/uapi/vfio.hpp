// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ABI of VFIO device files (cdev and PCI) and of type1 as /dev/iommu emulates it; no behaviour.
//
// Not iommufd's convention: `argsz` says how much room there is, what the kernel doesn't know is
// EINVAL, and information may be followed by a chain of capabilities at `cap_offset`.
#pragma once

#include "uapi/iommufd.hpp"

namespace iommufd::uapi::vfio {

constexpr Request request(unsigned number) { return (Request{';'} << 8) | (100 + number); }

inline constexpr Request kGetApiVersion = request(0);
inline constexpr Request kCheckExtension = request(1);
inline constexpr Request kSetIommu = request(2);
inline constexpr Request kDeviceGetInfo = request(7);
inline constexpr Request kDeviceGetRegionInfo = request(8);
inline constexpr Request kDeviceGetIrqInfo = request(9);
inline constexpr Request kDeviceSetIrqs = request(10);
inline constexpr Request kDeviceReset = request(11);
inline constexpr Request kDeviceGetPciHotResetInfo = request(12);
inline constexpr Request kDevicePciHotReset = request(13);
inline constexpr Request kDeviceIoeventfd = request(16);
inline constexpr Request kDeviceFeature = request(17);
inline constexpr Request kDeviceBindIommufd = request(18);
inline constexpr Request kDeviceAttachIommufdPt = request(19);
inline constexpr Request kDeviceDetachIommufdPt = request(20);
inline constexpr Request kMigGetPrecopyInfo = request(21);
// The same numbers on a container or on /dev/iommu:
inline constexpr Request kIommuGetInfo = request(12);
inline constexpr Request kIommuMapDma = request(13);
inline constexpr Request kIommuUnmapDma = request(14);

struct InfoCapHeader {
    std::uint16_t id;
    std::uint16_t version;
    std::uint32_t next;  // offset from the start of the info struct; 0 ends the chain
};

inline constexpr std::uint32_t kDeviceFlagReset = 1U << 0;
inline constexpr std::uint32_t kDeviceFlagPci = 1U << 1;
inline constexpr std::uint32_t kDeviceFlagCaps = 1U << 7;

struct DeviceInfo {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t num_regions;
    std::uint32_t num_irqs;
    std::uint32_t cap_offset;
    std::uint32_t pad;
};

inline constexpr std::uint32_t kPciBar0 = 0;
inline constexpr std::uint32_t kPciRom = 6;
inline constexpr std::uint32_t kPciConfig = 7;
inline constexpr std::uint32_t kPciVga = 8;
inline constexpr std::uint32_t kPciNumRegions = 9;

inline constexpr std::uint32_t kRegionRead = 1U << 0;
inline constexpr std::uint32_t kRegionWrite = 1U << 1;
inline constexpr std::uint32_t kRegionMmap = 1U << 2;
inline constexpr std::uint32_t kRegionCaps = 1U << 3;

inline constexpr std::uint16_t kRegionCapSparseMmap = 1;
inline constexpr std::uint16_t kRegionCapType = 2;
inline constexpr std::uint16_t kRegionCapMsixMappable = 3;

struct RegionInfo {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t index;
    std::uint32_t cap_offset;
    std::uint64_t size;
    std::uint64_t offset;
};

struct RegionSparseMmapArea {
    std::uint64_t offset;
    std::uint64_t size;
};

struct RegionInfoCapSparseMmap {  // followed by nr_areas times RegionSparseMmapArea
    InfoCapHeader header;
    std::uint32_t nr_areas;
    std::uint32_t reserved;
};

struct RegionInfoCapType {
    InfoCapHeader header;
    std::uint32_t type;
    std::uint32_t subtype;
};

inline constexpr std::uint32_t kPciIntx = 0;
inline constexpr std::uint32_t kPciMsi = 1;
inline constexpr std::uint32_t kPciMsix = 2;
inline constexpr std::uint32_t kPciErr = 3;
inline constexpr std::uint32_t kPciReq = 4;
inline constexpr std::uint32_t kPciNumIrqs = 5;

inline constexpr std::uint32_t kIrqEventfd = 1U << 0;
inline constexpr std::uint32_t kIrqMaskable = 1U << 1;
inline constexpr std::uint32_t kIrqAutomasked = 1U << 2;
inline constexpr std::uint32_t kIrqNoresize = 1U << 3;

struct IrqInfo {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t index;
    std::uint32_t count;
};

inline constexpr std::uint32_t kIrqSetDataNone = 1U << 0;
inline constexpr std::uint32_t kIrqSetDataBool = 1U << 1;
inline constexpr std::uint32_t kIrqSetDataEventfd = 1U << 2;
inline constexpr std::uint32_t kIrqSetMask = 1U << 3;
inline constexpr std::uint32_t kIrqSetUnmask = 1U << 4;
inline constexpr std::uint32_t kIrqSetTrigger = 1U << 5;

struct IrqSet {  // followed by count times the data that the flags name
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t index;
    std::uint32_t start;
    std::uint32_t count;
};

inline constexpr std::uint32_t kHotResetDevId = 1U << 0;
inline constexpr std::uint32_t kHotResetDevIdOwned = 1U << 1;
inline constexpr std::uint32_t kDevidOwned = 0;
inline constexpr std::uint32_t kDevidNotOwned = ~0U;

struct PciDependentDevice {
    std::uint32_t devid;  // or the group's number, for a device that was not opened as a cdev
    std::uint16_t segment;
    std::uint8_t bus;
    std::uint8_t devfn;
};

struct PciHotResetInfo {  // followed by count times PciDependentDevice
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t count;
};

struct PciHotReset {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t count;
};

inline constexpr std::uint32_t kIoeventfdSizeMask = 0xf;

struct DeviceIoeventfd {
    std::uint32_t argsz;
    std::uint32_t flags;  // the width of the write in bytes: 1, 2, 4 or 8
    std::uint64_t offset;
    std::uint64_t data;
    std::int32_t fd;
    std::uint32_t reserved;
};

inline constexpr std::uint32_t kBindToken = 1U << 0;

struct DeviceBindIommufd {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::int32_t iommufd;
    std::uint32_t out_devid;
    std::uint64_t token_uuid_ptr;
};

inline constexpr std::uint32_t kAttachPasid = 1U << 0;

struct DeviceAttachIommufdPt {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t pt_id;
    std::uint32_t pasid;
};

struct DeviceDetachIommufdPt {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t pasid;
};

inline constexpr std::uint32_t kFeatureMask = 0xffff;
inline constexpr std::uint32_t kFeatureGet = 1U << 16;
inline constexpr std::uint32_t kFeatureSet = 1U << 17;
inline constexpr std::uint32_t kFeatureProbe = 1U << 18;

inline constexpr std::uint32_t kFeaturePciVfToken = 0;
inline constexpr std::uint32_t kFeatureMigration = 1;
inline constexpr std::uint32_t kFeatureMigDeviceState = 2;
inline constexpr std::uint32_t kFeatureLowPowerEntry = 3;
inline constexpr std::uint32_t kFeatureLowPowerEntryWithWakeup = 4;
inline constexpr std::uint32_t kFeatureLowPowerExit = 5;
inline constexpr std::uint32_t kFeatureDmaLoggingStart = 6;
inline constexpr std::uint32_t kFeatureDmaLoggingStop = 7;
inline constexpr std::uint32_t kFeatureDmaLoggingReport = 8;
inline constexpr std::uint32_t kFeatureMigDataSize = 9;
inline constexpr std::uint32_t kFeatureBusMaster = 10;
inline constexpr std::uint32_t kFeatureDmaBuf = 11;
inline constexpr std::uint32_t kFeatureMigPrecopyInfoV2 = 12;
inline constexpr std::uint32_t kFeatureZpciError = 13;

struct DeviceFeature {  // followed by the feature's own struct
    std::uint32_t argsz;
    std::uint32_t flags;
};

inline constexpr std::uint64_t kMigrationStopCopy = 1U << 0;
inline constexpr std::uint64_t kMigrationP2p = 1U << 1;
inline constexpr std::uint64_t kMigrationPreCopy = 1U << 2;

struct FeatureMigration {
    std::uint64_t flags;
};

inline constexpr std::uint32_t kMigStateError = 0;
inline constexpr std::uint32_t kMigStateStop = 1;
inline constexpr std::uint32_t kMigStateRunning = 2;
inline constexpr std::uint32_t kMigStateStopCopy = 3;
inline constexpr std::uint32_t kMigStateResuming = 4;
inline constexpr std::uint32_t kMigStateRunningP2p = 5;
inline constexpr std::uint32_t kMigStatePreCopy = 6;
inline constexpr std::uint32_t kMigStatePreCopyP2p = 7;

struct FeatureMigState {
    std::uint32_t device_state;
    std::int32_t data_fd;
};

inline constexpr std::uint32_t kPrecopyInfoReinit = 1U << 0;

struct PrecopyInfo {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint64_t initial_bytes;
    std::uint64_t dirty_bytes;
};

struct FeatureLowPowerEntryWithWakeup {
    std::int32_t wakeup_eventfd;
    std::uint32_t reserved;
};

struct FeatureDmaLoggingControl {
    std::uint64_t page_size;
    std::uint32_t num_ranges;
    std::uint32_t reserved;
    std::uint64_t ranges;
};

struct FeatureDmaLoggingRange {
    std::uint64_t iova;
    std::uint64_t length;
};

struct FeatureDmaLoggingReport {
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t page_size;
    std::uint64_t bitmap;
};

struct FeatureMigDataSize {
    std::uint64_t stop_copy_length;
};

struct FeatureBusMaster {
    std::uint32_t op;  // 0 clears, 1 sets
};

struct RegionDmaRange {
    std::uint64_t offset;
    std::uint64_t length;
};

struct FeatureDmaBuf {  // followed by nr_ranges times RegionDmaRange
    std::uint32_t region_index;
    std::uint32_t open_flags;
    std::uint32_t flags;
    std::uint32_t nr_ranges;
};

struct FeatureZpciError {
    std::uint64_t data;
};

inline constexpr std::uint32_t kType1Iommu = 1;
inline constexpr std::uint32_t kType1v2Iommu = 3;
// Asked for with kCheckExtension only:
inline constexpr std::uint32_t kDmaCcIommu = 4;
inline constexpr std::uint32_t kNoiommuIommu = 8;
inline constexpr std::uint32_t kUnmapAll = 9;

inline constexpr std::uint32_t kIommuInfoPgsizes = 1U << 0;
inline constexpr std::uint32_t kIommuInfoCaps = 1U << 1;

struct IommuType1Info {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint64_t iova_pgsizes;
    std::uint32_t cap_offset;
    std::uint32_t pad;
};

inline constexpr std::uint32_t kDmaMapRead = 1U << 0;
inline constexpr std::uint32_t kDmaMapWrite = 1U << 1;

struct IommuType1DmaMap {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint64_t vaddr;
    std::uint64_t iova;
    std::uint64_t size;
};

inline constexpr std::uint32_t kDmaUnmapAll = 1U << 1;

struct IommuType1DmaUnmap {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint64_t iova;
    std::uint64_t size;
};

}  // namespace iommufd::uapi::vfio
