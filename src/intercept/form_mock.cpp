// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The operations of the kernel's test command, each with what it has behind the command's own fields.
#include "intercept/form.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

using namespace uapi::mock;

constexpr Field add_reserved_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                         IOMMUFD_FIELD(TestCmd, add_reserved.start, address),
                                         IOMMUFD_FIELD(TestCmd, add_reserved.length, address)};
constexpr Field mock_domain_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                        IOMMUFD_FIELD(TestCmd, mock_domain.out_stdev_id, number),
                                        IOMMUFD_FIELD(TestCmd, mock_domain.out_hwpt_id, number),
                                        IOMMUFD_FIELD(TestCmd, mock_domain.out_idev_id, number)};
constexpr Field check_map_fields[] = {
    IOMMUFD_FIELD(TestCmd, id, number), IOMMUFD_FIELD(TestCmd, check_map.iova, address),
    IOMMUFD_FIELD(TestCmd, check_map.length, address), IOMMUFD_FIELD(TestCmd, check_map.uptr, address)};
constexpr Field check_refs_fields[] = {
    IOMMUFD_FIELD(TestCmd, id, number), IOMMUFD_FIELD(TestCmd, check_refs.length, address),
    IOMMUFD_FIELD(TestCmd, check_refs.uptr, address), IOMMUFD_FIELD(TestCmd, check_refs.refs, number)};
constexpr Field create_access_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                          IOMMUFD_FIELD(TestCmd, create_access.out_access_fd, descriptor),
                                          IOMMUFD_FIELD(TestCmd, create_access.flags, address)};
constexpr Field destroy_access_pages_fields[] = {
    IOMMUFD_FIELD(TestCmd, id, number), IOMMUFD_FIELD(TestCmd, destroy_access_pages.access_pages_id, number)};
constexpr Field access_pages_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                         IOMMUFD_FIELD(TestCmd, access_pages.flags, address),
                                         IOMMUFD_FIELD(TestCmd, access_pages.out_access_pages_id, number),
                                         IOMMUFD_FIELD(TestCmd, access_pages.iova, address),
                                         IOMMUFD_FIELD(TestCmd, access_pages.length, address),
                                         IOMMUFD_FIELD(TestCmd, access_pages.uptr, address)};
constexpr Field access_rw_fields[] = {
    IOMMUFD_FIELD(TestCmd, id, number), IOMMUFD_FIELD(TestCmd, access_rw.iova, address),
    IOMMUFD_FIELD(TestCmd, access_rw.length, address), IOMMUFD_FIELD(TestCmd, access_rw.uptr, address),
    IOMMUFD_FIELD(TestCmd, access_rw.flags, address)};
constexpr Field memory_limit_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                         IOMMUFD_FIELD(TestCmd, memory_limit.limit, number)};
constexpr Field mock_domain_replace_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                                IOMMUFD_FIELD(TestCmd, mock_domain_replace.pt_id, number)};
constexpr Field access_replace_ioas_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                                IOMMUFD_FIELD(TestCmd, access_replace_ioas.ioas_id, number)};
constexpr Field mock_domain_flags_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                              IOMMUFD_FIELD(TestCmd, mock_domain_flags.out_stdev_id, number),
                                              IOMMUFD_FIELD(TestCmd, mock_domain_flags.out_hwpt_id, number),
                                              IOMMUFD_FIELD(TestCmd, mock_domain_flags.out_idev_id, number),
                                              IOMMUFD_FIELD(TestCmd, mock_domain_flags.dev_flags, address)};
constexpr Field dirty_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                  IOMMUFD_FIELD(TestCmd, dirty.flags, address),
                                  IOMMUFD_FIELD(TestCmd, dirty.iova, address),
                                  IOMMUFD_FIELD(TestCmd, dirty.length, address),
                                  IOMMUFD_FIELD(TestCmd, dirty.page_size, address),
                                  IOMMUFD_FIELD(TestCmd, dirty.uptr, address),
                                  IOMMUFD_FIELD(TestCmd, dirty.out_nr_dirty, number)};
constexpr Field check_iotlb_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                        IOMMUFD_FIELD(TestCmd, check_iotlb.id, number),
                                        IOMMUFD_FIELD(TestCmd, check_iotlb.iotlb, address)};
constexpr Field trigger_iopf_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                         IOMMUFD_FIELD(TestCmd, trigger_iopf.dev_id, number),
                                         IOMMUFD_FIELD(TestCmd, trigger_iopf.pasid, number),
                                         IOMMUFD_FIELD(TestCmd, trigger_iopf.grpid, number),
                                         IOMMUFD_FIELD(TestCmd, trigger_iopf.perm, address),
                                         IOMMUFD_FIELD(TestCmd, trigger_iopf.addr, address)};
constexpr Field check_dev_cache_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                            IOMMUFD_FIELD(TestCmd, check_dev_cache.id, number),
                                            IOMMUFD_FIELD(TestCmd, check_dev_cache.cache, address)};
constexpr Field trigger_vevent_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                           IOMMUFD_FIELD(TestCmd, trigger_vevent.dev_id, number)};
constexpr Field pasid_attach_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                         IOMMUFD_FIELD(TestCmd, pasid_attach.pasid, number),
                                         IOMMUFD_FIELD(TestCmd, pasid_attach.pt_id, number)};
constexpr Field pasid_replace_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                          IOMMUFD_FIELD(TestCmd, pasid_replace.pasid, number),
                                          IOMMUFD_FIELD(TestCmd, pasid_replace.pt_id, number)};
constexpr Field pasid_detach_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                         IOMMUFD_FIELD(TestCmd, pasid_detach.pasid, number)};
constexpr Field pasid_check_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                        IOMMUFD_FIELD(TestCmd, pasid_check.pasid, number),
                                        IOMMUFD_FIELD(TestCmd, pasid_check.hwpt_id, number)};
constexpr Field dmabuf_get_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                       IOMMUFD_FIELD(TestCmd, dmabuf_get.length, address),
                                       IOMMUFD_FIELD(TestCmd, dmabuf_get.open_flags, address)};
constexpr Field dmabuf_revoke_fields[] = {IOMMUFD_FIELD(TestCmd, id, number),
                                          IOMMUFD_FIELD(TestCmd, dmabuf_revoke.dmabuf_fd, descriptor),
                                          IOMMUFD_FIELD(TestCmd, dmabuf_revoke.revoked, number)};

constexpr Form kForms[] = {
    {kAddReserved, "IOMMU_TEST_OP_ADD_RESERVED", sizeof(TestCmd), add_reserved_fields, true},
    {kMockDomain, "IOMMU_TEST_OP_MOCK_DOMAIN", sizeof(TestCmd), mock_domain_fields, true},
    {kMdCheckMap, "IOMMU_TEST_OP_MD_CHECK_MAP", sizeof(TestCmd), check_map_fields, true},
    {kMdCheckRefs, "IOMMU_TEST_OP_MD_CHECK_REFS", sizeof(TestCmd), check_refs_fields, true},
    {kCreateAccess, "IOMMU_TEST_OP_CREATE_ACCESS", sizeof(TestCmd), create_access_fields, true},
    {kDestroyAccessPages, "IOMMU_TEST_OP_DESTROY_ACCESS_PAGES", sizeof(TestCmd), destroy_access_pages_fields,
     true},
    {kAccessPages, "IOMMU_TEST_OP_ACCESS_PAGES", sizeof(TestCmd), access_pages_fields, true},
    {kAccessRw, "IOMMU_TEST_OP_ACCESS_RW", sizeof(TestCmd), access_rw_fields, true},
    {kSetTempMemoryLimit, "IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT", sizeof(TestCmd), memory_limit_fields, true},
    {kMockDomainReplace, "IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE", sizeof(TestCmd), mock_domain_replace_fields,
     true},
    {kAccessReplaceIoas, "IOMMU_TEST_OP_ACCESS_REPLACE_IOAS", sizeof(TestCmd), access_replace_ioas_fields,
     true},
    {kMockDomainFlags, "IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS", sizeof(TestCmd), mock_domain_flags_fields, true},
    {kDirty, "IOMMU_TEST_OP_DIRTY", sizeof(TestCmd), dirty_fields, true},
    {kMdCheckIotlb, "IOMMU_TEST_OP_MD_CHECK_IOTLB", sizeof(TestCmd), check_iotlb_fields, true},
    {kTriggerIopf, "IOMMU_TEST_OP_TRIGGER_IOPF", sizeof(TestCmd), trigger_iopf_fields, true},
    {kDevCheckCache, "IOMMU_TEST_OP_DEV_CHECK_CACHE", sizeof(TestCmd), check_dev_cache_fields, true},
    {kTriggerVevent, "IOMMU_TEST_OP_TRIGGER_VEVENT", sizeof(TestCmd), trigger_vevent_fields, true},
    {kPasidAttach, "IOMMU_TEST_OP_PASID_ATTACH", sizeof(TestCmd), pasid_attach_fields, true},
    {kPasidReplace, "IOMMU_TEST_OP_PASID_REPLACE", sizeof(TestCmd), pasid_replace_fields, true},
    {kPasidDetach, "IOMMU_TEST_OP_PASID_DETACH", sizeof(TestCmd), pasid_detach_fields, true},
    {kPasidCheckHwpt, "IOMMU_TEST_OP_PASID_CHECK_HWPT", sizeof(TestCmd), pasid_check_fields, true},
    {kDmabufGet, "IOMMU_TEST_OP_DMABUF_GET", sizeof(TestCmd), dmabuf_get_fields, true},
    {kDmabufRevoke, "IOMMU_TEST_OP_DMABUF_REVOKE", sizeof(TestCmd), dmabuf_revoke_fields, true},
};

}  // namespace

std::span<const Form> mock_forms() noexcept { return kForms; }

}  // namespace iommufd::inline v0_1::intercept
