// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Our words for the kernel's mock against its own, which stand in its source only: see uapi_check.cpp.
#include "iommufd_test.h"

#include "uapi/iommufd_test.hpp"
#include "uapi/same.hpp"

namespace iommufd::uapi::mock {
namespace {

SAME_VALUE(kTest, IOMMU_TEST_CMD);
SAME_VALUE(kAddReserved, IOMMU_TEST_OP_ADD_RESERVED);
SAME_VALUE(kMockDomain, IOMMU_TEST_OP_MOCK_DOMAIN);
SAME_VALUE(kMdCheckMap, IOMMU_TEST_OP_MD_CHECK_MAP);
SAME_VALUE(kMdCheckRefs, IOMMU_TEST_OP_MD_CHECK_REFS);
SAME_VALUE(kCreateAccess, IOMMU_TEST_OP_CREATE_ACCESS);
SAME_VALUE(kDestroyAccessPages, IOMMU_TEST_OP_DESTROY_ACCESS_PAGES);
SAME_VALUE(kAccessPages, IOMMU_TEST_OP_ACCESS_PAGES);
SAME_VALUE(kAccessRw, IOMMU_TEST_OP_ACCESS_RW);
SAME_VALUE(kSetTempMemoryLimit, IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT);
SAME_VALUE(kMockDomainReplace, IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE);
SAME_VALUE(kAccessReplaceIoas, IOMMU_TEST_OP_ACCESS_REPLACE_IOAS);
SAME_VALUE(kMockDomainFlags, IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS);
SAME_VALUE(kDirty, IOMMU_TEST_OP_DIRTY);
SAME_VALUE(kMdCheckIotlb, IOMMU_TEST_OP_MD_CHECK_IOTLB);
SAME_VALUE(kTriggerIopf, IOMMU_TEST_OP_TRIGGER_IOPF);
SAME_VALUE(kDevCheckCache, IOMMU_TEST_OP_DEV_CHECK_CACHE);
SAME_VALUE(kTriggerVevent, IOMMU_TEST_OP_TRIGGER_VEVENT);
SAME_VALUE(kPasidAttach, IOMMU_TEST_OP_PASID_ATTACH);
SAME_VALUE(kPasidReplace, IOMMU_TEST_OP_PASID_REPLACE);
SAME_VALUE(kPasidDetach, IOMMU_TEST_OP_PASID_DETACH);
SAME_VALUE(kPasidCheckHwpt, IOMMU_TEST_OP_PASID_CHECK_HWPT);
SAME_VALUE(kDmabufGet, IOMMU_TEST_OP_DMABUF_GET);
SAME_VALUE(kDmabufRevoke, IOMMU_TEST_OP_DMABUF_REVOKE);
SAME_VALUE(kPageTableDefault, MOCK_IOMMUPT_DEFAULT);
SAME_VALUE(kPageTableHuge, MOCK_IOMMUPT_HUGE);
SAME_VALUE(kApertureStart, MOCK_APERTURE_START);
SAME_VALUE(kApertureLast, MOCK_APERTURE_LAST);
SAME_VALUE(kPageSize, MOCK_PAGE_SIZE);
SAME_VALUE(kHugePageSize, MOCK_HUGE_PAGE_SIZE);
SAME_VALUE(kAccessWrite, MOCK_FLAGS_ACCESS_WRITE);
SAME_VALUE(kAccessSyz, MOCK_FLAGS_ACCESS_SYZ);
SAME_VALUE(kAccessRwWrite, MOCK_ACCESS_RW_WRITE);
SAME_VALUE(kAccessRwSlowPath, MOCK_ACCESS_RW_SLOW_PATH);
SAME_VALUE(kCreateAccessNeedsPinPages, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
SAME_VALUE(kDeviceNoDirty, MOCK_FLAGS_DEVICE_NO_DIRTY);
SAME_VALUE(kDevicePasid, MOCK_FLAGS_DEVICE_PASID);
SAME_VALUE(kIotlbIdMax, MOCK_NESTED_DOMAIN_IOTLB_ID_MAX);
SAME_VALUE(kIotlbNum, MOCK_NESTED_DOMAIN_IOTLB_NUM);
SAME_VALUE(kDevCacheIdMax, MOCK_DEV_CACHE_ID_MAX);
SAME_VALUE(kDevCacheNum, MOCK_DEV_CACHE_NUM);
SAME_VALUE(kPasidReserved, IOMMU_TEST_PASID_RESERVED);
SAME_VALUE(kPasidWidth, MOCK_PASID_WIDTH);
SAME_VALUE(kHwInfoSelftest, IOMMU_HW_INFO_TYPE_SELFTEST);
SAME_VALUE(kHwInfoRegval, IOMMU_HW_INFO_SELFTEST_REGVAL);
SAME_VALUE(kHwptDataSelftest, IOMMU_HWPT_DATA_SELFTEST);
SAME_VALUE(kIotlbDefault, IOMMU_TEST_IOTLB_DEFAULT);
SAME_VALUE(kDevCacheDefault, IOMMU_TEST_DEV_CACHE_DEFAULT);
SAME_VALUE(kHwptInvalidateSelftest, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST);
SAME_VALUE(kHwptInvalidateSelftestInvalid, IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID);
SAME_VALUE(kInvalidateAll, IOMMU_TEST_INVALIDATE_FLAG_ALL);
SAME_VALUE(kViommuSelftest, IOMMU_VIOMMU_TYPE_SELFTEST);
SAME_VALUE(kViommuInvalidateSelftest, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST);
SAME_VALUE(kViommuInvalidateSelftestInvalid, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST_INVALID);
SAME_VALUE(kVeventqSelftest, IOMMU_VEVENTQ_TYPE_SELFTEST);
SAME_VALUE(kHwQueueSelftest, IOMMU_HW_QUEUE_TYPE_SELFTEST);
SAME_VALUE(kHwQueueMax, IOMMU_TEST_HW_QUEUE_MAX);

SAME_SIZE(TestCmd, iommu_test_cmd);
SAME_MEMBER(TestCmd, size, iommu_test_cmd, size);
SAME_MEMBER(TestCmd, op, iommu_test_cmd, op);
SAME_MEMBER(TestCmd, id, iommu_test_cmd, id);
SAME_MEMBER(TestCmd, reserved, iommu_test_cmd, __reserved);
SAME_MEMBER(TestCmd, last, iommu_test_cmd, last);

SAME_MEMBER(TestCmd, add_reserved, iommu_test_cmd, add_reserved);
SAME_MEMBER(TestCmd, add_reserved.start, iommu_test_cmd, add_reserved.start);
SAME_MEMBER(TestCmd, add_reserved.length, iommu_test_cmd, add_reserved.length);

SAME_MEMBER(TestCmd, mock_domain, iommu_test_cmd, mock_domain);
SAME_MEMBER(TestCmd, mock_domain.out_stdev_id, iommu_test_cmd, mock_domain.out_stdev_id);
SAME_MEMBER(TestCmd, mock_domain.out_hwpt_id, iommu_test_cmd, mock_domain.out_hwpt_id);
SAME_MEMBER(TestCmd, mock_domain.out_idev_id, iommu_test_cmd, mock_domain.out_idev_id);

SAME_MEMBER(TestCmd, mock_domain_flags, iommu_test_cmd, mock_domain_flags);
SAME_MEMBER(TestCmd, mock_domain_flags.out_stdev_id, iommu_test_cmd, mock_domain_flags.out_stdev_id);
SAME_MEMBER(TestCmd, mock_domain_flags.out_hwpt_id, iommu_test_cmd, mock_domain_flags.out_hwpt_id);
SAME_MEMBER(TestCmd, mock_domain_flags.out_idev_id, iommu_test_cmd, mock_domain_flags.out_idev_id);
SAME_MEMBER(TestCmd, mock_domain_flags.dev_flags, iommu_test_cmd, mock_domain_flags.dev_flags);

SAME_MEMBER(TestCmd, mock_domain_replace, iommu_test_cmd, mock_domain_replace);
SAME_MEMBER(TestCmd, mock_domain_replace.pt_id, iommu_test_cmd, mock_domain_replace.pt_id);

SAME_MEMBER(TestCmd, check_map, iommu_test_cmd, check_map);
SAME_MEMBER(TestCmd, check_map.iova, iommu_test_cmd, check_map.iova);
SAME_MEMBER(TestCmd, check_map.length, iommu_test_cmd, check_map.length);
SAME_MEMBER(TestCmd, check_map.uptr, iommu_test_cmd, check_map.uptr);

SAME_MEMBER(TestCmd, check_refs, iommu_test_cmd, check_refs);
SAME_MEMBER(TestCmd, check_refs.length, iommu_test_cmd, check_refs.length);
SAME_MEMBER(TestCmd, check_refs.uptr, iommu_test_cmd, check_refs.uptr);
SAME_MEMBER(TestCmd, check_refs.refs, iommu_test_cmd, check_refs.refs);

SAME_MEMBER(TestCmd, create_access, iommu_test_cmd, create_access);
SAME_MEMBER(TestCmd, create_access.out_access_fd, iommu_test_cmd, create_access.out_access_fd);
SAME_MEMBER(TestCmd, create_access.flags, iommu_test_cmd, create_access.flags);

SAME_MEMBER(TestCmd, destroy_access_pages, iommu_test_cmd, destroy_access_pages);
SAME_MEMBER(TestCmd, destroy_access_pages.access_pages_id, iommu_test_cmd,
            destroy_access_pages.access_pages_id);

SAME_MEMBER(TestCmd, access_pages, iommu_test_cmd, access_pages);
SAME_MEMBER(TestCmd, access_pages.flags, iommu_test_cmd, access_pages.flags);
SAME_MEMBER(TestCmd, access_pages.out_access_pages_id, iommu_test_cmd, access_pages.out_access_pages_id);
SAME_MEMBER(TestCmd, access_pages.iova, iommu_test_cmd, access_pages.iova);
SAME_MEMBER(TestCmd, access_pages.length, iommu_test_cmd, access_pages.length);
SAME_MEMBER(TestCmd, access_pages.uptr, iommu_test_cmd, access_pages.uptr);

SAME_MEMBER(TestCmd, access_rw, iommu_test_cmd, access_rw);
SAME_MEMBER(TestCmd, access_rw.iova, iommu_test_cmd, access_rw.iova);
SAME_MEMBER(TestCmd, access_rw.length, iommu_test_cmd, access_rw.length);
SAME_MEMBER(TestCmd, access_rw.uptr, iommu_test_cmd, access_rw.uptr);
SAME_MEMBER(TestCmd, access_rw.flags, iommu_test_cmd, access_rw.flags);

SAME_MEMBER(TestCmd, memory_limit, iommu_test_cmd, memory_limit);
SAME_MEMBER(TestCmd, memory_limit.limit, iommu_test_cmd, memory_limit.limit);

SAME_MEMBER(TestCmd, access_replace_ioas, iommu_test_cmd, access_replace_ioas);
SAME_MEMBER(TestCmd, access_replace_ioas.ioas_id, iommu_test_cmd, access_replace_ioas.ioas_id);

SAME_MEMBER(TestCmd, dirty, iommu_test_cmd, dirty);
SAME_MEMBER(TestCmd, dirty.flags, iommu_test_cmd, dirty.flags);
SAME_MEMBER(TestCmd, dirty.iova, iommu_test_cmd, dirty.iova);
SAME_MEMBER(TestCmd, dirty.length, iommu_test_cmd, dirty.length);
SAME_MEMBER(TestCmd, dirty.page_size, iommu_test_cmd, dirty.page_size);
SAME_MEMBER(TestCmd, dirty.uptr, iommu_test_cmd, dirty.uptr);
SAME_MEMBER(TestCmd, dirty.out_nr_dirty, iommu_test_cmd, dirty.out_nr_dirty);

SAME_MEMBER(TestCmd, check_iotlb, iommu_test_cmd, check_iotlb);
SAME_MEMBER(TestCmd, check_iotlb.id, iommu_test_cmd, check_iotlb.id);
SAME_MEMBER(TestCmd, check_iotlb.iotlb, iommu_test_cmd, check_iotlb.iotlb);

SAME_MEMBER(TestCmd, trigger_iopf, iommu_test_cmd, trigger_iopf);
SAME_MEMBER(TestCmd, trigger_iopf.dev_id, iommu_test_cmd, trigger_iopf.dev_id);
SAME_MEMBER(TestCmd, trigger_iopf.pasid, iommu_test_cmd, trigger_iopf.pasid);
SAME_MEMBER(TestCmd, trigger_iopf.grpid, iommu_test_cmd, trigger_iopf.grpid);
SAME_MEMBER(TestCmd, trigger_iopf.perm, iommu_test_cmd, trigger_iopf.perm);
SAME_MEMBER(TestCmd, trigger_iopf.addr, iommu_test_cmd, trigger_iopf.addr);

SAME_MEMBER(TestCmd, check_dev_cache, iommu_test_cmd, check_dev_cache);
SAME_MEMBER(TestCmd, check_dev_cache.id, iommu_test_cmd, check_dev_cache.id);
SAME_MEMBER(TestCmd, check_dev_cache.cache, iommu_test_cmd, check_dev_cache.cache);

SAME_MEMBER(TestCmd, trigger_vevent, iommu_test_cmd, trigger_vevent);
SAME_MEMBER(TestCmd, trigger_vevent.dev_id, iommu_test_cmd, trigger_vevent.dev_id);

SAME_MEMBER(TestCmd, pasid_attach, iommu_test_cmd, pasid_attach);
SAME_MEMBER(TestCmd, pasid_attach.pasid, iommu_test_cmd, pasid_attach.pasid);
SAME_MEMBER(TestCmd, pasid_attach.pt_id, iommu_test_cmd, pasid_attach.pt_id);

SAME_MEMBER(TestCmd, pasid_replace, iommu_test_cmd, pasid_replace);
SAME_MEMBER(TestCmd, pasid_replace.pasid, iommu_test_cmd, pasid_replace.pasid);
SAME_MEMBER(TestCmd, pasid_replace.pt_id, iommu_test_cmd, pasid_replace.pt_id);

SAME_MEMBER(TestCmd, pasid_detach, iommu_test_cmd, pasid_detach);
SAME_MEMBER(TestCmd, pasid_detach.pasid, iommu_test_cmd, pasid_detach.pasid);

SAME_MEMBER(TestCmd, pasid_check, iommu_test_cmd, pasid_check);
SAME_MEMBER(TestCmd, pasid_check.pasid, iommu_test_cmd, pasid_check.pasid);
SAME_MEMBER(TestCmd, pasid_check.hwpt_id, iommu_test_cmd, pasid_check.hwpt_id);

SAME_MEMBER(TestCmd, dmabuf_get, iommu_test_cmd, dmabuf_get);
SAME_MEMBER(TestCmd, dmabuf_get.length, iommu_test_cmd, dmabuf_get.length);
SAME_MEMBER(TestCmd, dmabuf_get.open_flags, iommu_test_cmd, dmabuf_get.open_flags);

SAME_MEMBER(TestCmd, dmabuf_revoke, iommu_test_cmd, dmabuf_revoke);
SAME_MEMBER(TestCmd, dmabuf_revoke.dmabuf_fd, iommu_test_cmd, dmabuf_revoke.dmabuf_fd);
SAME_MEMBER(TestCmd, dmabuf_revoke.revoked, iommu_test_cmd, dmabuf_revoke.revoked);

SAME_SIZE(TestHwInfo, iommu_test_hw_info);
SAME_MEMBER(TestHwInfo, flags, iommu_test_hw_info, flags);
SAME_MEMBER(TestHwInfo, test_reg, iommu_test_hw_info, test_reg);

SAME_SIZE(HwptSelftest, iommu_hwpt_selftest);
SAME_MEMBER(HwptSelftest, iotlb, iommu_hwpt_selftest, iotlb);
SAME_MEMBER(HwptSelftest, pagetable_type, iommu_hwpt_selftest, pagetable_type);

SAME_SIZE(HwptInvalidateSelftest, iommu_hwpt_invalidate_selftest);
SAME_MEMBER(HwptInvalidateSelftest, flags, iommu_hwpt_invalidate_selftest, flags);
SAME_MEMBER(HwptInvalidateSelftest, iotlb_id, iommu_hwpt_invalidate_selftest, iotlb_id);

SAME_SIZE(ViommuSelftest, iommu_viommu_selftest);
SAME_MEMBER(ViommuSelftest, in_data, iommu_viommu_selftest, in_data);
SAME_MEMBER(ViommuSelftest, out_data, iommu_viommu_selftest, out_data);
SAME_MEMBER(ViommuSelftest, out_mmap_offset, iommu_viommu_selftest, out_mmap_offset);
SAME_MEMBER(ViommuSelftest, out_mmap_length, iommu_viommu_selftest, out_mmap_length);

SAME_SIZE(ViommuInvalidateSelftest, iommu_viommu_invalidate_selftest);
SAME_MEMBER(ViommuInvalidateSelftest, flags, iommu_viommu_invalidate_selftest, flags);
SAME_MEMBER(ViommuInvalidateSelftest, vdev_id, iommu_viommu_invalidate_selftest, vdev_id);
SAME_MEMBER(ViommuInvalidateSelftest, cache_id, iommu_viommu_invalidate_selftest, cache_id);

SAME_SIZE(ViommuEventSelftest, iommu_viommu_event_selftest);
SAME_MEMBER(ViommuEventSelftest, virt_id, iommu_viommu_event_selftest, virt_id);

}  // namespace
}  // namespace iommufd::uapi::mock
