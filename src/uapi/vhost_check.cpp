// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Our words for vhost-vdpa against those of the real kernel: see uapi_check.cpp.
// The legacy part is C that is no C++.
#define VIRTIO_RING_NO_LEGACY
#include <linux/vhost.h>

#include "uapi/same.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::uapi::vhost {
namespace {

SAME_VALUE(kIoRead, _IOC_READ);
SAME_VALUE(kIoWrite, _IOC_WRITE);
SAME_VALUE(kGetFeatures, VHOST_GET_FEATURES);
SAME_VALUE(kSetFeatures, VHOST_SET_FEATURES);
SAME_VALUE(kSetOwner, VHOST_SET_OWNER);
SAME_VALUE(kResetOwner, VHOST_RESET_OWNER);
SAME_VALUE(kSetVringNum, VHOST_SET_VRING_NUM);
SAME_VALUE(kSetVringAddr, VHOST_SET_VRING_ADDR);
SAME_VALUE(kSetVringBase, VHOST_SET_VRING_BASE);
SAME_VALUE(kGetVringBase, VHOST_GET_VRING_BASE);
SAME_VALUE(kSetVringKick, VHOST_SET_VRING_KICK);
SAME_VALUE(kSetVringCall, VHOST_SET_VRING_CALL);
SAME_VALUE(kSetVringErr, VHOST_SET_VRING_ERR);
SAME_VALUE(kSetBackendFeatures, VHOST_SET_BACKEND_FEATURES);
SAME_VALUE(kGetBackendFeatures, VHOST_GET_BACKEND_FEATURES);
SAME_VALUE(kVdpaGetDeviceId, VHOST_VDPA_GET_DEVICE_ID);
SAME_VALUE(kVdpaGetStatus, VHOST_VDPA_GET_STATUS);
SAME_VALUE(kVdpaSetStatus, VHOST_VDPA_SET_STATUS);
SAME_VALUE(kVdpaGetConfig, VHOST_VDPA_GET_CONFIG);
SAME_VALUE(kVdpaSetConfig, VHOST_VDPA_SET_CONFIG);
SAME_VALUE(kVdpaSetVringEnable, VHOST_VDPA_SET_VRING_ENABLE);
SAME_VALUE(kVdpaGetVringNum, VHOST_VDPA_GET_VRING_NUM);
SAME_VALUE(kVdpaSetConfigCall, VHOST_VDPA_SET_CONFIG_CALL);
SAME_VALUE(kVdpaGetIovaRange, VHOST_VDPA_GET_IOVA_RANGE);
SAME_VALUE(kVdpaGetConfigSize, VHOST_VDPA_GET_CONFIG_SIZE);
SAME_VALUE(kVdpaGetAsNum, VHOST_VDPA_GET_AS_NUM);
SAME_VALUE(kVdpaGetVringGroup, VHOST_VDPA_GET_VRING_GROUP);
SAME_VALUE(kVdpaSetGroupAsid, VHOST_VDPA_SET_GROUP_ASID);
SAME_VALUE(kVdpaSuspend, VHOST_VDPA_SUSPEND);
SAME_VALUE(kVdpaResume, VHOST_VDPA_RESUME);
SAME_VALUE(kVdpaGetVringDescGroup, VHOST_VDPA_GET_VRING_DESC_GROUP);
SAME_VALUE(kVdpaGetVqsCount, VHOST_VDPA_GET_VQS_COUNT);
SAME_VALUE(kVdpaGetGroupNum, VHOST_VDPA_GET_GROUP_NUM);
SAME_VALUE(kVdpaGetVringSize, VHOST_VDPA_GET_VRING_SIZE);
SAME_VALUE(kIotlbMsgV2, VHOST_BACKEND_F_IOTLB_MSG_V2);
SAME_VALUE(kIotlbBatch, VHOST_BACKEND_F_IOTLB_BATCH);
SAME_VALUE(kIotlbAsid, VHOST_BACKEND_F_IOTLB_ASID);
SAME_VALUE(kSuspend, VHOST_BACKEND_F_SUSPEND);
SAME_VALUE(kResume, VHOST_BACKEND_F_RESUME);
SAME_VALUE(kEnableAfterDriverOk, VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK);
SAME_VALUE(kDescAsid, VHOST_BACKEND_F_DESC_ASID);
SAME_VALUE(kIotlbPersist, VHOST_BACKEND_F_IOTLB_PERSIST);
SAME_VALUE(kAccessRo, VHOST_ACCESS_RO);
SAME_VALUE(kAccessWo, VHOST_ACCESS_WO);
SAME_VALUE(kAccessRw, VHOST_ACCESS_RW);
SAME_VALUE(kIotlbUpdate, VHOST_IOTLB_UPDATE);
SAME_VALUE(kIotlbInvalidate, VHOST_IOTLB_INVALIDATE);
SAME_VALUE(kIotlbBatchBegin, VHOST_IOTLB_BATCH_BEGIN);
SAME_VALUE(kIotlbBatchEnd, VHOST_IOTLB_BATCH_END);
SAME_VALUE(kMsgIotlbV2, VHOST_IOTLB_MSG_V2);

SAME_SIZE(VringState, vhost_vring_state);
SAME_MEMBER(VringState, index, vhost_vring_state, index);
SAME_MEMBER(VringState, num, vhost_vring_state, num);

SAME_SIZE(VringFile, vhost_vring_file);
SAME_MEMBER(VringFile, index, vhost_vring_file, index);
SAME_MEMBER(VringFile, fd, vhost_vring_file, fd);

SAME_SIZE(VringAddr, vhost_vring_addr);
SAME_MEMBER(VringAddr, index, vhost_vring_addr, index);
SAME_MEMBER(VringAddr, flags, vhost_vring_addr, flags);
SAME_MEMBER(VringAddr, desc_user_addr, vhost_vring_addr, desc_user_addr);
SAME_MEMBER(VringAddr, used_user_addr, vhost_vring_addr, used_user_addr);
SAME_MEMBER(VringAddr, avail_user_addr, vhost_vring_addr, avail_user_addr);
SAME_MEMBER(VringAddr, log_guest_addr, vhost_vring_addr, log_guest_addr);

SAME_SIZE(VdpaConfig, vhost_vdpa_config);
SAME_MEMBER(VdpaConfig, off, vhost_vdpa_config, off);
SAME_MEMBER(VdpaConfig, len, vhost_vdpa_config, len);

SAME_SIZE(VdpaIovaRange, vhost_vdpa_iova_range);
SAME_MEMBER(VdpaIovaRange, first, vhost_vdpa_iova_range, first);
SAME_MEMBER(VdpaIovaRange, last, vhost_vdpa_iova_range, last);

SAME_SIZE(IotlbMsg, vhost_iotlb_msg);
SAME_MEMBER(IotlbMsg, iova, vhost_iotlb_msg, iova);
SAME_MEMBER(IotlbMsg, size, vhost_iotlb_msg, size);
SAME_MEMBER(IotlbMsg, uaddr, vhost_iotlb_msg, uaddr);
SAME_MEMBER(IotlbMsg, perm, vhost_iotlb_msg, perm);
SAME_MEMBER(IotlbMsg, type, vhost_iotlb_msg, type);

SAME_SIZE(MsgV2, vhost_msg_v2);
SAME_MEMBER(MsgV2, type, vhost_msg_v2, type);
SAME_MEMBER(MsgV2, asid, vhost_msg_v2, asid);
SAME_MEMBER(MsgV2, iotlb, vhost_msg_v2, iotlb);

}  // namespace
}  // namespace iommufd::uapi::vhost
