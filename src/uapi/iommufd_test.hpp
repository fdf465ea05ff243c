// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ABI of the kernel's own mock of devices and IOMMUs (CONFIG_IOMMUFD_TEST) as of Linux 7.3: one more
// command of /dev/iommu, with 23 operations; no behaviour. Unlike the rest of uapi, the kernel promises
// nothing about it: an operation may change with any release.
#pragma once

#include "uapi/commands.hpp"

namespace iommufd::uapi::mock {

inline constexpr Request kTest = iommufd_request(0xa0);

inline constexpr std::uint32_t kAddReserved = 1;
inline constexpr std::uint32_t kMockDomain = 2;
inline constexpr std::uint32_t kMdCheckMap = 3;
inline constexpr std::uint32_t kMdCheckRefs = 4;
inline constexpr std::uint32_t kCreateAccess = 5;
inline constexpr std::uint32_t kDestroyAccessPages = 6;
inline constexpr std::uint32_t kAccessPages = 7;
inline constexpr std::uint32_t kAccessRw = 8;
inline constexpr std::uint32_t kSetTempMemoryLimit = 9;
inline constexpr std::uint32_t kMockDomainReplace = 10;
inline constexpr std::uint32_t kAccessReplaceIoas = 11;
inline constexpr std::uint32_t kMockDomainFlags = 12;
inline constexpr std::uint32_t kDirty = 13;
inline constexpr std::uint32_t kMdCheckIotlb = 14;
inline constexpr std::uint32_t kTriggerIopf = 15;
inline constexpr std::uint32_t kDevCheckCache = 16;
inline constexpr std::uint32_t kTriggerVevent = 17;
inline constexpr std::uint32_t kPasidAttach = 18;
inline constexpr std::uint32_t kPasidReplace = 19;
inline constexpr std::uint32_t kPasidDetach = 20;
inline constexpr std::uint32_t kPasidCheckHwpt = 21;
inline constexpr std::uint32_t kDmabufGet = 22;
inline constexpr std::uint32_t kDmabufRevoke = 23;

// Which page table a mock hwpt gets (HwptSelftest::pagetable_type).
inline constexpr std::uint32_t kPageTableDefault = 0;
inline constexpr std::uint32_t kPageTableHuge = 1;

// Of the default page table; the huge one has no aperture.
inline constexpr std::uint64_t kApertureStart = 1UL << 24;
inline constexpr std::uint64_t kApertureLast = (1UL << 31) - 1;
inline constexpr std::uint64_t kPageSize = 2048;
inline constexpr std::uint64_t kHugePageSize = 512 * kPageSize;

inline constexpr std::uint32_t kAccessWrite = 1U << 0;  // of kAccessPages
inline constexpr std::uint32_t kAccessSyz = 1U << 16;
inline constexpr std::uint32_t kAccessRwWrite = 1U << 0;
inline constexpr std::uint32_t kAccessRwSlowPath = 1U << 2;
inline constexpr std::uint32_t kCreateAccessNeedsPinPages = 1U << 0;

inline constexpr std::uint32_t kDeviceNoDirty = 1U << 0;
inline constexpr std::uint32_t kDevicePasid = 1U << 2;

inline constexpr std::uint32_t kIotlbIdMax = 3;
inline constexpr std::uint32_t kIotlbNum = 4;
inline constexpr std::uint32_t kDevCacheIdMax = 3;
inline constexpr std::uint32_t kDevCacheNum = 4;

inline constexpr std::uint32_t kPasidReserved = 1024;  // its second attach fails, to test roll-back
inline constexpr std::uint32_t kPasidWidth = 20;

struct AddReserved {
    std::uint64_t start;
    std::uint64_t length;
};

struct MockDomain {
    std::uint32_t out_stdev_id;
    std::uint32_t out_hwpt_id;
    std::uint32_t out_idev_id;
};

struct MockDomainFlags {
    std::uint32_t out_stdev_id;
    std::uint32_t out_hwpt_id;
    std::uint32_t out_idev_id;
    std::uint32_t dev_flags;
};

struct MockDomainReplace {
    std::uint32_t pt_id;
};

struct CheckMap {
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t uptr;
};

struct CheckRefs {
    std::uint64_t length;
    std::uint64_t uptr;
    std::uint32_t refs;
};

struct CreateAccess {
    std::uint32_t out_access_fd;
    std::uint32_t flags;
};

struct DestroyAccessPages {
    std::uint32_t access_pages_id;
};

struct AccessPages {
    std::uint32_t flags;
    std::uint32_t out_access_pages_id;
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t uptr;
};

struct AccessRw {
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t uptr;
    std::uint32_t flags;
};

struct MemoryLimit {
    std::uint32_t limit;
};

struct AccessReplaceIoas {
    std::uint32_t ioas_id;
};

struct Dirty {
    std::uint32_t flags;
    std::uint64_t iova;
    std::uint64_t length;
    std::uint64_t page_size;
    std::uint64_t uptr;
    std::uint64_t out_nr_dirty;
};

struct CheckIotlb {
    std::uint32_t id;
    std::uint32_t iotlb;
};

struct TriggerIopf {
    std::uint32_t dev_id;
    std::uint32_t pasid;
    std::uint32_t grpid;
    std::uint32_t perm;
    std::uint64_t addr;
};

struct CheckDevCache {
    std::uint32_t id;
    std::uint32_t cache;
};

struct TriggerVevent {
    std::uint32_t dev_id;
};

struct PasidAttach {
    std::uint32_t pasid;
    std::uint32_t pt_id;
};

struct PasidReplace {
    std::uint32_t pasid;
    std::uint32_t pt_id;
};

struct PasidDetach {
    std::uint32_t pasid;
};

struct PasidCheck {
    std::uint32_t pasid;
    std::uint32_t hwpt_id;
};

struct DmabufGet {
    std::uint32_t length;
    std::uint32_t open_flags;
};

struct DmabufRevoke {
    std::int32_t dmabuf_fd;
    std::uint32_t revoked;
};

struct TestCmd {
    std::uint32_t size;
    std::uint32_t op;
    std::uint32_t id;  // what `op` works on: an IOAS, a hwpt, an stdev, or an access's descriptor
    std::uint32_t reserved;
    union {
        AddReserved add_reserved;
        MockDomain mock_domain;
        MockDomainFlags mock_domain_flags;
        MockDomainReplace mock_domain_replace;
        CheckMap check_map;
        CheckRefs check_refs;
        CreateAccess create_access;
        DestroyAccessPages destroy_access_pages;
        AccessPages access_pages;
        AccessRw access_rw;
        MemoryLimit memory_limit;
        AccessReplaceIoas access_replace_ioas;
        Dirty dirty;
        CheckIotlb check_iotlb;
        TriggerIopf trigger_iopf;
        CheckDevCache check_dev_cache;
        TriggerVevent trigger_vevent;
        PasidAttach pasid_attach;
        PasidReplace pasid_replace;
        PasidDetach pasid_detach;
        PasidCheck pasid_check;
        DmabufGet dmabuf_get;
        DmabufRevoke dmabuf_revoke;
    };
    std::uint32_t last;
};

inline constexpr Command kTestCommand = {kTest, "IOMMU_TEST_CMD", sizeof(TestCmd), 68, "6.2"};

inline constexpr std::uint32_t kHwInfoSelftest = 0xfeedbeef;
inline constexpr std::uint32_t kHwInfoRegval = 0xdeadbeef;

struct TestHwInfo {
    std::uint32_t flags;
    std::uint32_t test_reg;
};

inline constexpr std::uint32_t kHwptDataSelftest = 0xdead;
inline constexpr std::uint32_t kIotlbDefault = 0xbadbeef;
inline constexpr std::uint32_t kDevCacheDefault = 0xbaddad;

struct HwptSelftest {
    std::uint32_t iotlb;
    std::uint32_t pagetable_type;
};

inline constexpr std::uint32_t kHwptInvalidateSelftest = 0xdeadbeef;
inline constexpr std::uint32_t kHwptInvalidateSelftestInvalid = 0xdadbeef;
inline constexpr std::uint32_t kInvalidateAll = 1U << 0;  // the id beside it doesn't matter then

struct HwptInvalidateSelftest {
    std::uint32_t flags;
    std::uint32_t iotlb_id;
};

inline constexpr std::uint32_t kViommuSelftest = 0xdeadbeef;

struct ViommuSelftest {
    std::uint32_t in_data;
    std::uint32_t out_data;
    std::uint64_t out_mmap_offset;
    std::uint64_t out_mmap_length;
};

inline constexpr std::uint32_t kViommuInvalidateSelftest = 0xdeadbeef;
inline constexpr std::uint32_t kViommuInvalidateSelftestInvalid = 0xdadbeef;

struct ViommuInvalidateSelftest {
    std::uint32_t flags;
    std::uint32_t vdev_id;
    std::uint32_t cache_id;
};

inline constexpr std::uint32_t kVeventqSelftest = 0xbeefbeef;

struct ViommuEventSelftest {
    std::uint32_t virt_id;
};

inline constexpr std::uint32_t kHwQueueSelftest = 0xdeadbeef;
inline constexpr std::uint32_t kHwQueueMax = 2;

}  // namespace iommufd::uapi::mock
