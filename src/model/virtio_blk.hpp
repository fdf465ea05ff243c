// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A virtio block device: a disk in memory, and the requests that read, write, flush and identify it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "model/disk.hpp"
#include "model/iotlb_port.hpp"
#include "model/split_ring.hpp"

namespace iommufd::inline v0_1::model {

class VirtioBlk {
public:
    static constexpr std::uint32_t kDeviceId = 2;
    static constexpr std::uint64_t kAccessPlatform = 1ULL << 33;  // it reaches memory through an IOTLB
    // Size and segment limits, block size, flush, topology, queues, discard, write zeroes; any layout,
    // version 1.
    static constexpr std::uint64_t kFeatures = 1ULL << 1 | 1ULL << 2 | 1ULL << 6 | 1ULL << 9 | 1ULL << 10 |
                                               1ULL << 12 | 1ULL << 13 | 1ULL << 14 | 1ULL << 27 |
                                               1ULL << 32 | kAccessPlatform;
    static constexpr std::size_t kConfigSize = 96;

    explicit VirtioBlk(std::uint64_t size) : disk_(size) {}

    std::array<std::byte, kConfigSize> config() const;

    // Serves one request; false where its last byte, the status, could not be written. `written` is how
    // many bytes the device put into the chain.
    bool serve(const IotlbPort& port, const SplitRing::Chain& chain, std::uint32_t& written);

private:
    bool in_range(std::uint64_t sector, std::uint64_t sectors) const;
    bool transferable(std::uint64_t sector, std::uint64_t length) const;
    // DISCARD and WRITE_ZEROES: the status.
    std::uint8_t clear(const IotlbPort& port, const SplitRing::Chain& chain, std::uint64_t out, bool zero);

    Disk disk_;
};

}  // namespace iommufd::inline v0_1::model
