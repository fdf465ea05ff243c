// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a driver of a virtio block device needs of the virtio specification 1.x: the split ring, the
// device status, feature bits, and virtio-blk's config and requests. Little-endian, as this library's
// machines are. No behaviour.
#pragma once

#include <cstdint>

namespace iommufd::uapi::virtio {

inline constexpr std::uint32_t kIdBlock = 2;

// The device status: bits are added one after the other; 0 resets.
inline constexpr std::uint8_t kStatusAcknowledge = 1;
inline constexpr std::uint8_t kStatusDriver = 2;
inline constexpr std::uint8_t kStatusDriverOk = 4;
inline constexpr std::uint8_t kStatusFeaturesOk = 8;
inline constexpr std::uint8_t kStatusNeedsReset = 0x40;
inline constexpr std::uint8_t kStatusFailed = 0x80;

// Feature bits, as numbers.
inline constexpr unsigned kRingIndirectDesc = 28;
inline constexpr unsigned kRingEventIdx = 29;
inline constexpr unsigned kVersion1 = 32;
inline constexpr unsigned kAccessPlatform = 33;  // the device's addresses are IOVAs
inline constexpr unsigned kRingPacked = 34;
inline constexpr unsigned kOrderPlatform = 36;

inline constexpr std::uint16_t kDescNext = 1;      // `next` continues the chain
inline constexpr std::uint16_t kDescWrite = 2;     // the device writes this buffer
inline constexpr std::uint16_t kDescIndirect = 4;  // the buffer is a table of descriptors

inline constexpr std::uint16_t kAvailNoInterrupt = 1;
inline constexpr std::uint16_t kUsedNoNotify = 1;

inline constexpr std::uint32_t kDescAlign = 16;
inline constexpr std::uint32_t kAvailAlign = 2;
inline constexpr std::uint32_t kUsedAlign = 4;

struct Desc {
    std::uint64_t addr;
    std::uint32_t len;
    std::uint16_t flags;
    std::uint16_t next;
};

struct AvailHeader {  // followed by one uint16_t a queue entry: the head of a chain
    std::uint16_t flags;
    std::uint16_t idx;
};

struct UsedElem {
    std::uint32_t id;   // the head of the chain
    std::uint32_t len;  // bytes that the device wrote
};

struct UsedHeader {  // followed by one UsedElem a queue entry
    std::uint16_t flags;
    std::uint16_t idx;
};

// virtio-blk's own feature bits.
inline constexpr unsigned kBlkSizeMax = 1;
inline constexpr unsigned kBlkSegMax = 2;
inline constexpr unsigned kBlkGeometry = 4;
inline constexpr unsigned kBlkRo = 5;
inline constexpr unsigned kBlkBlkSize = 6;
inline constexpr unsigned kBlkFlush = 9;
inline constexpr unsigned kBlkTopology = 10;
inline constexpr unsigned kBlkConfigWce = 11;
inline constexpr unsigned kBlkMq = 12;
inline constexpr unsigned kBlkDiscard = 13;
inline constexpr unsigned kBlkWriteZeroes = 14;

// The start of virtio-blk's config; the fields behind belong to discard and later features.
struct BlkConfig {
    std::uint64_t capacity;  // in sectors of 512 bytes, whatever blk_size says
    std::uint32_t size_max;
    std::uint32_t seg_max;
    std::uint16_t cylinders;
    std::uint8_t heads;
    std::uint8_t sectors;
    std::uint32_t blk_size;
    std::uint8_t physical_block_exp;
    std::uint8_t alignment_offset;
    std::uint16_t min_io_size;
    std::uint32_t opt_io_size;
    std::uint8_t wce;
    std::uint8_t unused;
    std::uint16_t num_queues;
    std::uint32_t max_discard_sectors;
};

inline constexpr std::uint32_t kSectorSize = 512;

inline constexpr std::uint32_t kBlkIn = 0;  // a read: the device writes memory
inline constexpr std::uint32_t kBlkOut = 1;
inline constexpr std::uint32_t kBlkFlushRequest = 4;
inline constexpr std::uint32_t kBlkGetId = 8;
inline constexpr std::uint32_t kBlkIdBytes = 20;

struct BlkRequest {  // then the data, then one status byte
    std::uint32_t type;
    std::uint32_t ioprio;
    std::uint64_t sector;
};

inline constexpr std::uint8_t kBlkOk = 0;
inline constexpr std::uint8_t kBlkIoError = 1;
inline constexpr std::uint8_t kBlkUnsupported = 2;

}  // namespace iommufd::uapi::virtio
