// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Our words for virtio against those of the real kernel: see uapi_check.cpp.
// The legacy part is C that is no C++.
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "uapi/same.hpp"
#include "uapi/virtio.hpp"

namespace iommufd::uapi::virtio {
namespace {

SAME_VALUE(kIdBlock, VIRTIO_ID_BLOCK);
SAME_VALUE(kStatusAcknowledge, VIRTIO_CONFIG_S_ACKNOWLEDGE);
SAME_VALUE(kStatusDriver, VIRTIO_CONFIG_S_DRIVER);
SAME_VALUE(kStatusDriverOk, VIRTIO_CONFIG_S_DRIVER_OK);
SAME_VALUE(kStatusFeaturesOk, VIRTIO_CONFIG_S_FEATURES_OK);
SAME_VALUE(kStatusNeedsReset, VIRTIO_CONFIG_S_NEEDS_RESET);
SAME_VALUE(kStatusFailed, VIRTIO_CONFIG_S_FAILED);
SAME_VALUE(kRingIndirectDesc, VIRTIO_RING_F_INDIRECT_DESC);
SAME_VALUE(kRingEventIdx, VIRTIO_RING_F_EVENT_IDX);
SAME_VALUE(kVersion1, VIRTIO_F_VERSION_1);
SAME_VALUE(kAccessPlatform, VIRTIO_F_ACCESS_PLATFORM);
SAME_VALUE(kRingPacked, VIRTIO_F_RING_PACKED);
SAME_VALUE(kOrderPlatform, VIRTIO_F_ORDER_PLATFORM);
SAME_VALUE(kDescNext, VRING_DESC_F_NEXT);
SAME_VALUE(kDescWrite, VRING_DESC_F_WRITE);
SAME_VALUE(kDescIndirect, VRING_DESC_F_INDIRECT);
SAME_VALUE(kAvailNoInterrupt, VRING_AVAIL_F_NO_INTERRUPT);
SAME_VALUE(kUsedNoNotify, VRING_USED_F_NO_NOTIFY);
SAME_VALUE(kDescAlign, VRING_DESC_ALIGN_SIZE);
SAME_VALUE(kAvailAlign, VRING_AVAIL_ALIGN_SIZE);
SAME_VALUE(kUsedAlign, VRING_USED_ALIGN_SIZE);
SAME_VALUE(kBlkSizeMax, VIRTIO_BLK_F_SIZE_MAX);
SAME_VALUE(kBlkSegMax, VIRTIO_BLK_F_SEG_MAX);
SAME_VALUE(kBlkGeometry, VIRTIO_BLK_F_GEOMETRY);
SAME_VALUE(kBlkRo, VIRTIO_BLK_F_RO);
SAME_VALUE(kBlkBlkSize, VIRTIO_BLK_F_BLK_SIZE);
SAME_VALUE(kBlkFlush, VIRTIO_BLK_F_FLUSH);
SAME_VALUE(kBlkTopology, VIRTIO_BLK_F_TOPOLOGY);
SAME_VALUE(kBlkConfigWce, VIRTIO_BLK_F_CONFIG_WCE);
SAME_VALUE(kBlkMq, VIRTIO_BLK_F_MQ);
SAME_VALUE(kBlkDiscard, VIRTIO_BLK_F_DISCARD);
SAME_VALUE(kBlkWriteZeroes, VIRTIO_BLK_F_WRITE_ZEROES);
SAME_VALUE(kBlkIn, VIRTIO_BLK_T_IN);
SAME_VALUE(kBlkOut, VIRTIO_BLK_T_OUT);
SAME_VALUE(kBlkFlushRequest, VIRTIO_BLK_T_FLUSH);
SAME_VALUE(kBlkGetId, VIRTIO_BLK_T_GET_ID);
SAME_VALUE(kBlkIdBytes, VIRTIO_BLK_ID_BYTES);
SAME_VALUE(kBlkOk, VIRTIO_BLK_S_OK);
SAME_VALUE(kBlkIoError, VIRTIO_BLK_S_IOERR);
SAME_VALUE(kBlkUnsupported, VIRTIO_BLK_S_UNSUPP);

SAME_SIZE(Desc, vring_desc);
SAME_MEMBER(Desc, addr, vring_desc, addr);
SAME_MEMBER(Desc, len, vring_desc, len);
SAME_MEMBER(Desc, flags, vring_desc, flags);
SAME_MEMBER(Desc, next, vring_desc, next);

SAME_SIZE(AvailHeader, vring_avail);
SAME_MEMBER(AvailHeader, flags, vring_avail, flags);
SAME_MEMBER(AvailHeader, idx, vring_avail, idx);

SAME_SIZE(UsedElem, vring_used_elem);
SAME_MEMBER(UsedElem, id, vring_used_elem, id);
SAME_MEMBER(UsedElem, len, vring_used_elem, len);

SAME_MEMBER(UsedHeader, flags, vring_used, flags);
SAME_MEMBER(UsedHeader, idx, vring_used, idx);

SAME_MEMBER(BlkConfig, capacity, virtio_blk_config, capacity);
SAME_MEMBER(BlkConfig, size_max, virtio_blk_config, size_max);
SAME_MEMBER(BlkConfig, seg_max, virtio_blk_config, seg_max);
SAME_MEMBER(BlkConfig, cylinders, virtio_blk_config, geometry.cylinders);
SAME_MEMBER(BlkConfig, heads, virtio_blk_config, geometry.heads);
SAME_MEMBER(BlkConfig, sectors, virtio_blk_config, geometry.sectors);
SAME_MEMBER(BlkConfig, blk_size, virtio_blk_config, blk_size);
SAME_MEMBER(BlkConfig, physical_block_exp, virtio_blk_config, physical_block_exp);
SAME_MEMBER(BlkConfig, alignment_offset, virtio_blk_config, alignment_offset);
SAME_MEMBER(BlkConfig, min_io_size, virtio_blk_config, min_io_size);
SAME_MEMBER(BlkConfig, opt_io_size, virtio_blk_config, opt_io_size);
SAME_MEMBER(BlkConfig, wce, virtio_blk_config, wce);
SAME_MEMBER(BlkConfig, unused, virtio_blk_config, unused);
SAME_MEMBER(BlkConfig, num_queues, virtio_blk_config, num_queues);
SAME_MEMBER(BlkConfig, max_discard_sectors, virtio_blk_config, max_discard_sectors);

SAME_SIZE(BlkRequest, virtio_blk_outhdr);
SAME_MEMBER(BlkRequest, type, virtio_blk_outhdr, type);
SAME_MEMBER(BlkRequest, ioprio, virtio_blk_outhdr, ioprio);
SAME_MEMBER(BlkRequest, sector, virtio_blk_outhdr, sector);

}  // namespace
}  // namespace iommufd::uapi::virtio
