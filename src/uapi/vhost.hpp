// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The ABI of vhost-vdpa device files and of the IOTLB messages written to them; no behaviour.
#pragma once

#include <cstddef>

#include "uapi/iommufd.hpp"

namespace iommufd::uapi::vhost {

inline constexpr Request kIoRead = 2;   // the kernel writes the argument
inline constexpr Request kIoWrite = 1;  // the kernel reads it

constexpr Request request(Request direction, unsigned number, std::size_t size) {
    return (direction << 30) | (Request{size} << 16) | (Request{0xaf} << 8) | number;
}

struct VringState {
    std::uint32_t index;
    std::uint32_t num;
};

struct VringFile {
    std::uint32_t index;
    std::int32_t fd;  // -1 takes the file away
};

struct VringAddr {
    std::uint32_t index;
    std::uint32_t flags;
    std::uint64_t desc_user_addr;  // of vhost-vdpa: an IOVA
    std::uint64_t used_user_addr;
    std::uint64_t avail_user_addr;
    std::uint64_t log_guest_addr;
};

struct VdpaConfig {  // followed by len bytes
    std::uint32_t off;
    std::uint32_t len;
};

struct VdpaIovaRange {
    std::uint64_t first;
    std::uint64_t last;
};

inline constexpr Request kGetFeatures = request(kIoRead, 0x00, 8);
inline constexpr Request kSetFeatures = request(kIoWrite, 0x00, 8);
inline constexpr Request kSetOwner = request(0, 0x01, 0);
inline constexpr Request kResetOwner = request(0, 0x02, 0);
inline constexpr Request kSetVringNum = request(kIoWrite, 0x10, sizeof(VringState));
inline constexpr Request kSetVringAddr = request(kIoWrite, 0x11, sizeof(VringAddr));
inline constexpr Request kSetVringBase = request(kIoWrite, 0x12, sizeof(VringState));
inline constexpr Request kGetVringBase = request(kIoRead | kIoWrite, 0x12, sizeof(VringState));
inline constexpr Request kSetVringKick = request(kIoWrite, 0x20, sizeof(VringFile));
inline constexpr Request kSetVringCall = request(kIoWrite, 0x21, sizeof(VringFile));
inline constexpr Request kSetVringErr = request(kIoWrite, 0x22, sizeof(VringFile));
inline constexpr Request kSetBackendFeatures = request(kIoWrite, 0x25, 8);
inline constexpr Request kGetBackendFeatures = request(kIoRead, 0x26, 8);
inline constexpr Request kVdpaGetDeviceId = request(kIoRead, 0x70, 4);
inline constexpr Request kVdpaGetStatus = request(kIoRead, 0x71, 1);
inline constexpr Request kVdpaSetStatus = request(kIoWrite, 0x72, 1);
inline constexpr Request kVdpaGetConfig = request(kIoRead, 0x73, sizeof(VdpaConfig));
inline constexpr Request kVdpaSetConfig = request(kIoWrite, 0x74, sizeof(VdpaConfig));
inline constexpr Request kVdpaSetVringEnable = request(kIoWrite, 0x75, sizeof(VringState));
inline constexpr Request kVdpaGetVringNum = request(kIoRead, 0x76, 2);
inline constexpr Request kVdpaSetConfigCall = request(kIoWrite, 0x77, 4);
inline constexpr Request kVdpaGetIovaRange = request(kIoRead, 0x78, sizeof(VdpaIovaRange));
inline constexpr Request kVdpaGetConfigSize = request(kIoRead, 0x79, 4);
inline constexpr Request kVdpaGetAsNum = request(kIoRead, 0x7a, 4);
inline constexpr Request kVdpaGetVringGroup = request(kIoRead | kIoWrite, 0x7b, sizeof(VringState));
inline constexpr Request kVdpaSetGroupAsid = request(kIoWrite, 0x7c, sizeof(VringState));
inline constexpr Request kVdpaSuspend = request(0, 0x7d, 0);
inline constexpr Request kVdpaResume = request(0, 0x7e, 0);
inline constexpr Request kVdpaGetVringDescGroup = request(kIoRead | kIoWrite, 0x7f, sizeof(VringState));
inline constexpr Request kVdpaGetVqsCount = request(kIoRead, 0x80, 4);
inline constexpr Request kVdpaGetGroupNum = request(kIoRead, 0x81, 4);
inline constexpr Request kVdpaGetVringSize = request(kIoRead | kIoWrite, 0x82, sizeof(VringState));

// Bits of the backend features.
inline constexpr unsigned kIotlbMsgV2 = 1;
inline constexpr unsigned kIotlbBatch = 2;
inline constexpr unsigned kIotlbAsid = 3;
inline constexpr unsigned kSuspend = 4;
inline constexpr unsigned kResume = 5;
inline constexpr unsigned kEnableAfterDriverOk = 6;
inline constexpr unsigned kDescAsid = 7;
inline constexpr unsigned kIotlbPersist = 8;

inline constexpr std::uint8_t kAccessRo = 1;
inline constexpr std::uint8_t kAccessWo = 2;
inline constexpr std::uint8_t kAccessRw = 3;

inline constexpr std::uint8_t kIotlbUpdate = 2;
inline constexpr std::uint8_t kIotlbInvalidate = 3;
inline constexpr std::uint8_t kIotlbBatchBegin = 5;
inline constexpr std::uint8_t kIotlbBatchEnd = 6;

struct IotlbMsg {
    std::uint64_t iova;
    std::uint64_t size;
    std::uint64_t uaddr;
    std::uint8_t perm;
    std::uint8_t type;
};

inline constexpr std::uint32_t kMsgIotlbV2 = 2;

struct MsgV2 {
    std::uint32_t type;
    std::uint32_t asid;
    union {
        IotlbMsg iotlb;
        std::uint8_t padding[64];
    };
};

}  // namespace iommufd::uapi::vhost
