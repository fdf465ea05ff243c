// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vfio/features.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vfio.hpp"
#include "vfio/device_node.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

namespace {

template <class T>
std::span<std::byte> bytes(T& value) {
    return std::as_writable_bytes(std::span(&value, 1));
}

// Sets a feature that has no data of its own.
Result<void> set(const Device& device, std::uint32_t feature, std::string_view what) {
    return device.node()->feature(feature, abi::kFeatureSet, {}, what).transform([](int) {});
}

}  // namespace

bool has_feature(const Device& device, Feature feature, FeatureUse use) noexcept {
    return device.node()->has_feature(static_cast<std::uint32_t>(feature),
                                      use == FeatureUse::get ? abi::kFeatureGet : abi::kFeatureSet);
}

Result<Migration> migration(const Device& device) {
    abi::FeatureMigration data{};
    return device.node()
        ->feature(abi::kFeatureMigration, abi::kFeatureGet, bytes(data), "ask for the migration abilities")
        .transform([&](int) {
            return Migration{.stop_copy = (data.flags & abi::kMigrationStopCopy) != 0,
                             .peer_to_peer = (data.flags & abi::kMigrationP2p) != 0,
                             .pre_copy = (data.flags & abi::kMigrationPreCopy) != 0};
        });
}

Result<MigrationState> migration_state(const Device& device) {
    abi::FeatureMigState data{.device_state = 0, .data_fd = -1};
    return device.node()
        ->feature(abi::kFeatureMigDeviceState, abi::kFeatureGet, bytes(data), "read the migration state")
        .transform([&](int) { return static_cast<MigrationState>(data.device_state); });
}

Result<int> set_migration_state(const Device& device, MigrationState state) {
    abi::FeatureMigState data{.device_state = static_cast<std::uint32_t>(state), .data_fd = -1};
    return device.node()
        ->feature(abi::kFeatureMigDeviceState, abi::kFeatureSet, bytes(data), "set the migration state")
        .transform([&](int) { return static_cast<int>(data.data_fd); });
}

Result<std::uint64_t> migration_data_size(const Device& device) {
    abi::FeatureMigDataSize data{};
    return device.node()
        ->feature(abi::kFeatureMigDataSize, abi::kFeatureGet, bytes(data), "estimate the migration data")
        .transform([&](int) { return data.stop_copy_length; });
}

Result<void> use_precopy_info_v2(const Device& device) {
    return set(device, abi::kFeatureMigPrecopyInfoV2, "use the newer pre-copy information");
}

Result<PrecopyInfo> precopy_info(const Device& device, int data) {
    abi::PrecopyInfo info{};
    info.argsz = sizeof info;
    if (const int result = device.node()->fd().kernel().ioctl(data, abi::kMigGetPrecopyInfo, &info);
        result < 0)
        return failed(Operation::vfio_precopy_info, -result, [&] {
            return compose("cannot tell how much of ", device.name(), " is still to be copied");
        });
    return PrecopyInfo{.initial_bytes = info.initial_bytes,
                       .dirty_bytes = info.dirty_bytes,
                       .again = (info.flags & abi::kPrecopyInfoReinit) != 0};
}

Result<void> enter_low_power(const Device& device) {
    return set(device, abi::kFeatureLowPowerEntry, "allow low power");
}

Result<void> enter_low_power(const Device& device, int wakeup_eventfd) {
    abi::FeatureLowPowerEntryWithWakeup data{.wakeup_eventfd = wakeup_eventfd, .reserved = 0};
    return device.node()
        ->feature(abi::kFeatureLowPowerEntryWithWakeup, abi::kFeatureSet, bytes(data), "allow low power")
        .transform([](int) {});
}

Result<void> exit_low_power(const Device& device) {
    return set(device, abi::kFeatureLowPowerExit, "end low power");
}

Result<void> start_dma_log(const Device& device, std::span<const Range> ranges, std::uint64_t page_size) {
    return device.node()->start_dirty(ranges, page_size);
}

Result<void> stop_dma_log(const Device& device) { return device.node()->stop_dirty(); }

Result<void> report_dma_log(const Device& device, Range range, std::uint64_t page_size,
                            std::span<std::uint64_t> bitmap) {
    return device.node()->read_dirty(range, page_size, bitmap);
}

Result<int> export_dma_buf(const Device& device, std::uint32_t bar, std::uint64_t offset,
                           std::uint64_t length) {
    struct {
        abi::FeatureDmaBuf head;
        abi::RegionDmaRange range;
    } data{.head = {.region_index = bar, .open_flags = O_RDWR | O_CLOEXEC, .flags = 0, .nr_ranges = 1},
           .range = {.offset = offset, .length = length}};
    return device.node()->feature(abi::kFeatureDmaBuf, abi::kFeatureGet, bytes(data), "export a dma-buf");
}

Result<void> set_vf_token(const Device& device, const VfToken& token) {
    VfToken copy = token;
    return device.node()
        ->feature(abi::kFeaturePciVfToken, abi::kFeatureSet, bytes(copy), "set the VF token")
        .transform([](int) {});
}

Result<void> set_bus_master(const Device& device, bool on) {
    abi::FeatureBusMaster data{.op = on ? 1U : 0U};
    return device.node()
        ->feature(abi::kFeatureBusMaster, abi::kFeatureSet, bytes(data), on ? "allow DMA" : "forbid DMA")
        .transform([](int) {});
}

}  // namespace iommufd::inline v0_1::vfio
