// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ABI of /dev/iommu as of Linux 7.3: commands, structs and values; no behaviour.
//
// Every command is an ioctl whose argument starts with its own size. A kernel takes a shorter struct
// (the rest counts as zero) down to the size that the command had at first, and a longer one whose
// tail is zero. Sizes, offsets and values are checked against the kernel's header where one is at hand
// (*_check.cpp, by tests/uapi/check). Since-versions stand in commands.hpp.
#pragma once

#include <cstdint>

namespace iommufd::uapi {

using Request = unsigned long;

constexpr Request iommufd_request(unsigned number) { return (Request{';'} << 8) | number; }

inline constexpr Request kDestroy = iommufd_request(0x80);
inline constexpr Request kIoasAlloc = iommufd_request(0x81);
inline constexpr Request kIoasAllowIovas = iommufd_request(0x82);
inline constexpr Request kIoasCopy = iommufd_request(0x83);
inline constexpr Request kIoasIovaRanges = iommufd_request(0x84);
inline constexpr Request kIoasMap = iommufd_request(0x85);
inline constexpr Request kIoasUnmap = iommufd_request(0x86);
inline constexpr Request kOption = iommufd_request(0x87);
inline constexpr Request kVfioIoas = iommufd_request(0x88);
inline constexpr Request kHwptAlloc = iommufd_request(0x89);
inline constexpr Request kGetHwInfo = iommufd_request(0x8a);
inline constexpr Request kHwptSetDirtyTracking = iommufd_request(0x8b);
inline constexpr Request kHwptGetDirtyBitmap = iommufd_request(0x8c);
inline constexpr Request kHwptInvalidate = iommufd_request(0x8d);
inline constexpr Request kFaultQueueAlloc = iommufd_request(0x8e);
inline constexpr Request kIoasMapFile = iommufd_request(0x8f);
inline constexpr Request kViommuAlloc = iommufd_request(0x90);
inline constexpr Request kVdeviceAlloc = iommufd_request(0x91);
inline constexpr Request kIoasChangeProcess = iommufd_request(0x92);
inline constexpr Request kVeventqAlloc = iommufd_request(0x93);
inline constexpr Request kHwQueueAlloc = iommufd_request(0x94);
inline constexpr Request kIoasNoiommuGetPa = iommufd_request(0x95);

struct Destroy {
    std::uint32_t size;
    std::uint32_t id;
};

struct IoasAlloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t out_ioas_id;
};

struct IovaRange {
    std::uint64_t start;
    std::uint64_t last;
};

struct IoasIovaRanges {
    std::uint32_t size;
    std::uint32_t ioas_id;
    std::uint32_t num_iovas;
    std::uint32_t reserved;
    std::uint64_t allowed_iovas;
    std::uint64_t out_iova_alignment;
};

struct IoasAllowIovas {
    std::uint32_t size;
    std::uint32_t ioas_id;
    std::uint32_t num_iovas;
    std::uint32_t reserved;
    std::uint64_t allowed_iovas;
};

inline constexpr std::uint32_t kMapFixedIova = 1U << 0;
inline constexpr std::uint32_t kMapWriteable = 1U << 1;
inline constexpr std::uint32_t kMapReadable = 1U << 2;

struct IoasMap {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t ioas_id;
    std::uint32_t reserved;
    std::uint64_t user_va;
    std::uint64_t length;
    std::uint64_t iova;
};

struct IoasMapFile {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t ioas_id;
    std::int32_t fd;
    std::uint64_t start;
    std::uint64_t length;
    std::uint64_t iova;
};

struct IoasCopy {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t dst_ioas_id;
    std::uint32_t src_ioas_id;
    std::uint64_t length;
    std::uint64_t dst_iova;
    std::uint64_t src_iova;
};

struct IoasUnmap {
    std::uint32_t size;
    std::uint32_t ioas_id;
    std::uint64_t iova;
    std::uint64_t length;
};

struct IoasChangeProcess {
    std::uint32_t size;
    std::uint32_t reserved;
};

struct IoasNoiommuGetPa {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t ioas_id;
    std::uint32_t reserved;
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t out_phys;
};

inline constexpr std::uint32_t kOptionRlimitMode = 0;
inline constexpr std::uint32_t kOptionHugePages = 1;
inline constexpr std::uint16_t kOptionSet = 0;
inline constexpr std::uint16_t kOptionGet = 1;

struct Option {
    std::uint32_t size;
    std::uint32_t option_id;
    std::uint16_t op;
    std::uint16_t reserved;
    std::uint32_t object_id;
    std::uint64_t val64;
};

inline constexpr std::uint16_t kVfioIoasGet = 0;
inline constexpr std::uint16_t kVfioIoasSet = 1;
inline constexpr std::uint16_t kVfioIoasClear = 2;

struct VfioIoas {
    std::uint32_t size;
    std::uint32_t ioas_id;
    std::uint16_t op;
    std::uint16_t reserved;
};

inline constexpr std::uint32_t kHwptNestParent = 1U << 0;
inline constexpr std::uint32_t kHwptDirtyTracking = 1U << 1;
inline constexpr std::uint32_t kHwptFaultIdValid = 1U << 2;
inline constexpr std::uint32_t kHwptPasid = 1U << 3;

inline constexpr std::uint32_t kHwptDataNone = 0;
inline constexpr std::uint32_t kHwptDataVtdS1 = 1;
inline constexpr std::uint32_t kHwptDataArmSmmuv3 = 2;
inline constexpr std::uint32_t kHwptDataAmdGuest = 3;

struct HwptAlloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t dev_id;
    std::uint32_t pt_id;
    std::uint32_t out_hwpt_id;
    std::uint32_t reserved;
    std::uint32_t data_type;
    std::uint32_t data_len;
    std::uint64_t data_uptr;
    std::uint32_t fault_id;
    std::uint32_t reserved2;
};

inline constexpr std::uint64_t kVtdS1Sre = 1U << 0;
inline constexpr std::uint64_t kVtdS1Eafe = 1U << 1;
inline constexpr std::uint64_t kVtdS1Wpe = 1U << 2;

struct HwptVtdS1 {
    std::uint64_t flags;
    std::uint64_t pgtbl_addr;
    std::uint32_t addr_width;
    std::uint32_t reserved;
};

struct HwptArmSmmuv3 {
    std::uint64_t ste[2];
};

struct HwptAmdGuest {
    std::uint64_t dte[4];
};

inline constexpr std::uint32_t kHwInfoInputType = 1U << 0;

inline constexpr std::uint32_t kHwInfoNone = 0;
inline constexpr std::uint32_t kHwInfoDefault = 0;  // as input: what the device's own IOMMU has
inline constexpr std::uint32_t kHwInfoVtd = 1;
inline constexpr std::uint32_t kHwInfoArmSmmuv3 = 2;
inline constexpr std::uint32_t kHwInfoTegra241Cmdqv = 3;
inline constexpr std::uint32_t kHwInfoAmd = 4;

inline constexpr std::uint64_t kHwCapDirtyTracking = 1U << 0;
inline constexpr std::uint64_t kHwCapPasidExec = 1U << 1;
inline constexpr std::uint64_t kHwCapPasidPriv = 1U << 2;
inline constexpr std::uint64_t kHwCapAtsNotSupported = 1U << 3;

struct HwInfo {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t dev_id;
    std::uint32_t data_len;
    std::uint64_t data_uptr;
    std::uint32_t data_type;  // in with kHwInfoInputType, out always
    std::uint8_t out_max_pasid_log2;
    std::uint8_t reserved[3];
    std::uint64_t out_capabilities;
};

inline constexpr std::uint32_t kHwInfoVtdErrata772415Spr17 = 1U << 0;

struct HwInfoVtd {
    std::uint32_t flags;
    std::uint32_t reserved;
    std::uint64_t cap_reg;
    std::uint64_t ecap_reg;
};

inline constexpr std::uint32_t kHwInfoArmSmmuv3ErrataRepeatTlbiCfgi = 1U << 0;

struct HwInfoArmSmmuv3 {
    std::uint32_t flags;
    std::uint32_t reserved;
    std::uint32_t idr[6];
    std::uint32_t iidr;
    std::uint32_t aidr;
};

struct HwInfoTegra241Cmdqv {
    std::uint32_t flags;
    std::uint8_t version;
    std::uint8_t log2vcmdqs;
    std::uint8_t log2vsids;
    std::uint8_t reserved;
};

struct HwInfoAmd {
    std::uint64_t efr;
    std::uint64_t efr2;
};

inline constexpr std::uint32_t kDirtyTrackingEnable = 1;

struct HwptSetDirtyTracking {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t hwpt_id;
    std::uint32_t reserved;
};

inline constexpr std::uint32_t kDirtyBitmapNoClear = 1;

struct HwptGetDirtyBitmap {
    std::uint32_t size;
    std::uint32_t hwpt_id;
    std::uint32_t flags;
    std::uint32_t reserved;
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t page_size;
    std::uint64_t data;
};

inline constexpr std::uint32_t kInvalidateVtdS1 = 0;
inline constexpr std::uint32_t kInvalidateArmSmmuv3 = 1;

struct HwptInvalidate {
    std::uint32_t size;
    std::uint32_t hwpt_id;  // a nested hwpt, or a viommu
    std::uint64_t data_uptr;
    std::uint32_t data_type;
    std::uint32_t entry_len;
    std::uint32_t entry_num;  // in: entries given; out: entries handled
    std::uint32_t reserved;
};

inline constexpr std::uint32_t kVtdInvalidateLeaf = 1U << 0;

struct HwptVtdS1Invalidate {
    std::uint64_t addr;
    std::uint64_t npages;
    std::uint32_t flags;
    std::uint32_t reserved;
};

struct ViommuArmSmmuv3Invalidate {
    std::uint64_t cmd[2];
};

inline constexpr std::uint32_t kFaultPasidValid = 1U << 0;
inline constexpr std::uint32_t kFaultLastPage = 1U << 1;

inline constexpr std::uint32_t kFaultPermRead = 1U << 0;
inline constexpr std::uint32_t kFaultPermWrite = 1U << 1;
inline constexpr std::uint32_t kFaultPermExec = 1U << 2;
inline constexpr std::uint32_t kFaultPermPriv = 1U << 3;

struct FaultQueueAlloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t out_fault_id;
    std::uint32_t out_fault_fd;
};

struct HwptPgfault {
    std::uint32_t flags;
    std::uint32_t dev_id;
    std::uint32_t pasid;
    std::uint32_t grpid;
    std::uint32_t perm;
    std::uint32_t reserved;
    std::uint64_t addr;
    std::uint32_t length;
    std::uint32_t cookie;
};

inline constexpr std::uint32_t kPageResponseSuccess = 0;
inline constexpr std::uint32_t kPageResponseInvalid = 1;

struct HwptPageResponse {
    std::uint32_t cookie;
    std::uint32_t code;
};

inline constexpr std::uint32_t kViommuDefault = 0;
inline constexpr std::uint32_t kViommuArmSmmuv3 = 1;
inline constexpr std::uint32_t kViommuTegra241Cmdqv = 2;

struct ViommuAlloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t type;
    std::uint32_t dev_id;
    std::uint32_t hwpt_id;
    std::uint32_t out_viommu_id;
    std::uint32_t data_len;
    std::uint32_t reserved;
    std::uint64_t data_uptr;
};

struct ViommuTegra241Cmdqv {
    std::uint64_t out_vintf_mmap_offset;
    std::uint64_t out_vintf_mmap_length;
};

struct VdeviceAlloc {
    std::uint32_t size;
    std::uint32_t viommu_id;
    std::uint32_t dev_id;
    std::uint32_t out_vdevice_id;
    std::uint64_t virt_id;
};

inline constexpr std::uint32_t kVeventLost = 1U << 0;

inline constexpr std::uint32_t kVeventqDefault = 0;
inline constexpr std::uint32_t kVeventqArmSmmuv3 = 1;
inline constexpr std::uint32_t kVeventqTegra241Cmdqv = 2;

struct VeventqAlloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t viommu_id;
    std::uint32_t type;
    std::uint32_t veventq_depth;
    std::uint32_t out_veventq_id;
    std::uint32_t out_veventq_fd;
    std::uint32_t reserved;
};

struct VeventHeader {
    std::uint32_t flags;
    std::uint32_t sequence;  // 0 to INT32_MAX, then 0 again
};

struct VeventArmSmmuv3 {
    std::uint64_t evt[4];
};

struct VeventTegra241Cmdqv {
    std::uint64_t lvcmdq_err_map[2];
};

inline constexpr std::uint32_t kHwQueueDefault = 0;
inline constexpr std::uint32_t kHwQueueTegra241Cmdqv = 1;

struct HwQueueAlloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t viommu_id;
    std::uint32_t type;
    std::uint32_t index;
    std::uint32_t out_hw_queue_id;
    std::uint64_t nesting_parent_iova;
    std::uint64_t length;
};

}  // namespace iommufd::uapi
