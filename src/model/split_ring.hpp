// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The device's side of a virtio split ring, all of it behind the IOTLB.
#pragma once

#include <cstdint>
#include <vector>

#include "model/iotlb_port.hpp"

namespace iommufd::inline v0_1::model {

class SplitRing {
public:
    struct Buffer {
        std::uint64_t iova;
        std::uint32_t length;
    };
    // What the driver made available in one go.
    struct Chain {
        std::uint16_t head;
        std::vector<Buffer> readable;  // by the device
        std::vector<Buffer> writable;
    };
    enum class Next : std::uint8_t { chain, none, broken };

    std::uint32_t size = 0;  // a power of two
    std::uint64_t descriptors = 0;
    std::uint64_t available = 0;
    std::uint64_t used = 0;
    std::uint16_t next_available = 0;  // what the program saves and restores
    std::uint16_t next_used = 0;

    // The next chain, if there is one and it makes sense.
    Next take(const IotlbPort& port, Chain& chain);
    // Gives a chain back with that many bytes written; false where the ring is out of reach.
    bool give_back(const IotlbPort& port, std::uint16_t head, std::uint32_t written);
    bool wants_interrupt(const IotlbPort& port) const;

private:
    Next follow(const IotlbPort& port, std::uint16_t index, Chain& chain) const;
};

}  // namespace iommufd::inline v0_1::model
