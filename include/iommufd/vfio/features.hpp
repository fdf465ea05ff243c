// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What some VFIO devices can do besides (VFIO_DEVICE_FEATURE): one function for each feature.
//
//     Device --FEATURE_PROBE--> has_feature()
//            --MIG_DEVICE_STATE--> a state, and a descriptor with the device's data
//            --DMA_LOGGING_*--> which IOVAs it has written: what dma::DirtySource is for a VFIO device
//            --DMA_BUF--> a descriptor of a BAR --IOAS_MAP_FILE--> for other devices
//
// Common errors: ENOTTY the device's driver has no such feature; EINVAL it can't now, or arguments.
// Threads: any calls may run at once.
// Linux: VF token 5.7, migration 5.18, low power and DMA log 6.1, pre-copy and data size 6.2, dma-buf 6.19.
#pragma once

#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::vfio {

// The kernel's numbers (VFIO_DEVICE_FEATURE_*).
enum class Feature : std::uint16_t {
    pci_vf_token = 0,
    migration = 1,
    migration_state = 2,
    low_power_entry = 3,
    low_power_entry_with_wakeup = 4,
    low_power_exit = 5,
    dma_logging_start = 6,
    dma_logging_stop = 7,
    dma_logging_report = 8,
    migration_data_size = 9,
    bus_master = 10,
    dma_buf = 11,
    migration_precopy_info = 12,
    zpci_error = 13,
};

enum class FeatureUse : std::uint8_t { get, set };

// Whether the device has the feature, for that use.
IOMMUFD_EXPORT bool has_feature(const Device& device, Feature feature, FeatureUse use) noexcept;

// --- migration ----------------------------------------------------------------------------------

struct Migration {
    bool stop_copy;
    bool peer_to_peer;  // has states in which it makes no peer-to-peer DMA
    bool pre_copy;
};

enum class MigrationState : std::uint32_t {
    error = 0,
    stop = 1,
    running = 2,
    stop_copy = 3,
    resuming = 4,
    running_p2p = 5,
    pre_copy = 6,
    pre_copy_p2p = 7,
};

struct PrecopyInfo {
    std::uint64_t initial_bytes;  // still to be read of the first state; stop_copy is best after it
    std::uint64_t dirty_bytes;    // changed since it was read
    bool again;                   // the first state has begun anew; only after use_precopy_info_v2()
};

IOMMUFD_EXPORT Result<Migration> migration(const Device& device);
IOMMUFD_EXPORT Result<MigrationState> migration_state(const Device& device);
// Moves the device to a state by the kernel's shortest way. Where the state has a data stream, its descriptor
// is the caller's to read (or write) to the end and to close; else -1.
IOMMUFD_EXPORT Result<int> set_migration_state(const Device& device, MigrationState state);
// An estimate of the stop_copy stream, in bytes.
IOMMUFD_EXPORT Result<std::uint64_t> migration_data_size(const Device& device);
// Makes PrecopyInfo::again mean something. ENOTTY in kernels much before 7.3.
IOMMUFD_EXPORT Result<void> use_precopy_info_v2(const Device& device);
// Of the data stream while in pre_copy. `data` is the descriptor that set_migration_state() gave.
IOMMUFD_EXPORT Result<PrecopyInfo> precopy_info(const Device& device, int data);

// --- power --------------------------------------------------------------------------------------

// The device may be put to sleep until it is accessed again. With an eventfd (borrowed) also until it wakes
// itself, which is signalled.
IOMMUFD_EXPORT Result<void> enter_low_power(const Device& device);
IOMMUFD_EXPORT Result<void> enter_low_power(const Device& device, int wakeup_eventfd);
IOMMUFD_EXPORT Result<void> exit_low_power(const Device& device);

// --- DMA log ------------------------------------------------------------------------------------

// The device notes which IOVAs it writes, in pages of about `page_size` bytes. E2BIG: more than 256 ranges.
IOMMUFD_EXPORT Result<void> start_dma_log(const Device& device, std::span<const Range> ranges,
                                          std::uint64_t page_size);
IOMMUFD_EXPORT Result<void> stop_dma_log(const Device& device);
// Sets the bit of each page written since the last report; bit 0 is the page at range.first. EINVAL: too few
// bits.
IOMMUFD_EXPORT Result<void> report_dma_log(const Device& device, Range range, std::uint64_t page_size,
                                           std::span<std::uint64_t> bitmap);

// --- others -------------------------------------------------------------------------------------

// A dma-buf of a part of a BAR, in whole pages, for peer-to-peer DMA (dma::Memory::dma_buf); the descriptor is the caller's. A
// reset or memory decoding turned off revokes what was mapped from it: dma::Mapping::remap() afterwards. Linux 6.19.
IOMMUFD_EXPORT Result<int> export_dma_buf(const Device& device, std::uint32_t bar, std::uint64_t offset,
                                          std::uint64_t length);
// Of an SR-IOV PF: what its VFs must present from now on.
IOMMUFD_EXPORT Result<void> set_vf_token(const Device& device, const VfToken& token);
// Of devices without PCI's own bit (fsl-mc, CDX).
IOMMUFD_EXPORT Result<void> set_bus_master(const Device& device, bool on);

}  // namespace iommufd::inline v0_1::vfio
