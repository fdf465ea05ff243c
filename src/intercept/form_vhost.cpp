// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ioctls of vhost-vdpa devices.
#include "intercept/form.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

using namespace uapi::vhost;

template <class T>
struct One {
    T value;
};

constexpr Name kFeatureBits[] = {
    {1U << kIotlbMsgV2, "IOTLB_MSG_V2"}, {1U << kIotlbBatch, "IOTLB_BATCH"},
    {1U << kIotlbAsid, "IOTLB_ASID"},    {1U << kSuspend, "SUSPEND"},
    {1U << kResume, "RESUME"},           {1U << kEnableAfterDriverOk, "ENABLE_AFTER_DRIVER_OK"},
    {1U << kDescAsid, "DESC_ASID"},      {1U << kIotlbPersist, "IOTLB_PERSIST"}};
constexpr Names kBackendFeatures{"VHOST_BACKEND_F_", kFeatureBits};
constexpr Name kStatusBits[] = {{1, "ACKNOWLEDGE"}, {2, "DRIVER"},       {4, "DRIVER_OK"},
                                {8, "FEATURES_OK"}, {64, "NEEDS_RESET"}, {128, "FAILED"}};
constexpr Names kStatus{"VIRTIO_CONFIG_S_", kStatusBits};

constexpr Field features[] = {IOMMUFD_FIELD(One<std::uint64_t>, value, address)};
constexpr Field backend_features[] = {IOMMUFD_FIELD(One<std::uint64_t>, value, bits, &kBackendFeatures)};
constexpr Field status[] = {IOMMUFD_FIELD(One<std::uint8_t>, value, bits, &kStatus)};
constexpr Field word[] = {IOMMUFD_FIELD(One<std::uint32_t>, value, number)};
constexpr Field short_word[] = {IOMMUFD_FIELD(One<std::uint16_t>, value, number)};
constexpr Field descriptor[] = {IOMMUFD_FIELD(One<std::int32_t>, value, descriptor)};
constexpr Field vring_state[] = {IOMMUFD_FIELD(VringState, index, number),
                                 IOMMUFD_FIELD(VringState, num, number)};
constexpr Field vring_file[] = {IOMMUFD_FIELD(VringFile, index, number),
                                IOMMUFD_FIELD(VringFile, fd, descriptor)};
constexpr Field vring_addr[] = {IOMMUFD_FIELD(VringAddr, index, number),
                                IOMMUFD_FIELD(VringAddr, flags, number),
                                IOMMUFD_FIELD(VringAddr, desc_user_addr, address),
                                IOMMUFD_FIELD(VringAddr, used_user_addr, address),
                                IOMMUFD_FIELD(VringAddr, avail_user_addr, address),
                                IOMMUFD_FIELD(VringAddr, log_guest_addr, address)};
constexpr Field config[] = {IOMMUFD_FIELD(VdpaConfig, off, number), IOMMUFD_FIELD(VdpaConfig, len, number)};
constexpr Field iova_range[] = {IOMMUFD_FIELD(VdpaIovaRange, first, address),
                                IOMMUFD_FIELD(VdpaIovaRange, last, address)};

constexpr Form kForms[] = {
    {kGetFeatures, "VHOST_GET_FEATURES", 8, features, false},
    {kSetFeatures, "VHOST_SET_FEATURES", 8, features, false},
    {kSetOwner, "VHOST_SET_OWNER", 0, {}, false},
    {kResetOwner, "VHOST_RESET_OWNER", 0, {}, false},
    {kSetVringNum, "VHOST_SET_VRING_NUM", sizeof(VringState), vring_state, false},
    {kSetVringAddr, "VHOST_SET_VRING_ADDR", sizeof(VringAddr), vring_addr, false},
    {kSetVringBase, "VHOST_SET_VRING_BASE", sizeof(VringState), vring_state, false},
    {kGetVringBase, "VHOST_GET_VRING_BASE", sizeof(VringState), vring_state, false},
    {kSetVringKick, "VHOST_SET_VRING_KICK", sizeof(VringFile), vring_file, false},
    {kSetVringCall, "VHOST_SET_VRING_CALL", sizeof(VringFile), vring_file, false},
    {kSetVringErr, "VHOST_SET_VRING_ERR", sizeof(VringFile), vring_file, false},
    {kSetBackendFeatures, "VHOST_SET_BACKEND_FEATURES", 8, backend_features, false},
    {kGetBackendFeatures, "VHOST_GET_BACKEND_FEATURES", 8, backend_features, false},
    {kVdpaGetDeviceId, "VHOST_VDPA_GET_DEVICE_ID", 4, word, false},
    {kVdpaGetStatus, "VHOST_VDPA_GET_STATUS", 1, status, false},
    {kVdpaSetStatus, "VHOST_VDPA_SET_STATUS", 1, status, false},
    {kVdpaGetConfig, "VHOST_VDPA_GET_CONFIG", sizeof(VdpaConfig), config, false},
    {kVdpaSetConfig, "VHOST_VDPA_SET_CONFIG", sizeof(VdpaConfig), config, false},
    {kVdpaSetVringEnable, "VHOST_VDPA_SET_VRING_ENABLE", sizeof(VringState), vring_state, false},
    {kVdpaGetVringNum, "VHOST_VDPA_GET_VRING_NUM", 2, short_word, false},
    {kVdpaSetConfigCall, "VHOST_VDPA_SET_CONFIG_CALL", 4, descriptor, false},
    {kVdpaGetIovaRange, "VHOST_VDPA_GET_IOVA_RANGE", sizeof(VdpaIovaRange), iova_range, false},
    {kVdpaGetConfigSize, "VHOST_VDPA_GET_CONFIG_SIZE", 4, word, false},
    {kVdpaGetAsNum, "VHOST_VDPA_GET_AS_NUM", 4, word, false},
    {kVdpaGetVringGroup, "VHOST_VDPA_GET_VRING_GROUP", sizeof(VringState), vring_state, false},
    {kVdpaSetGroupAsid, "VHOST_VDPA_SET_GROUP_ASID", sizeof(VringState), vring_state, false},
    {kVdpaSuspend, "VHOST_VDPA_SUSPEND", 0, {}, false},
    {kVdpaResume, "VHOST_VDPA_RESUME", 0, {}, false},
    {kVdpaGetVringDescGroup, "VHOST_VDPA_GET_VRING_DESC_GROUP", sizeof(VringState), vring_state, false},
    {kVdpaGetVqsCount, "VHOST_VDPA_GET_VQS_COUNT", 4, word, false},
    {kVdpaGetGroupNum, "VHOST_VDPA_GET_GROUP_NUM", 4, word, false},
    {kVdpaGetVringSize, "VHOST_VDPA_GET_VRING_SIZE", sizeof(VringState), vring_state, false},
};

}  // namespace

std::span<const Form> vhost_forms() noexcept { return kForms; }

}  // namespace iommufd::inline v0_1::intercept
