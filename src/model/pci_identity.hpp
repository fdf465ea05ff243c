// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a PCI device says of itself before it is driven.
#pragma once

#include <array>
#include <cstdint>

namespace iommufd::inline v0_1::model {

// BAR 0 is the device's registers; any other that it has is memory, without effects and kept over a reset.
struct PciBar {
    std::uint64_t size = 0;  // a power of two; 0: it has none
    std::uint64_t address = 0;
    bool wide = false;  // of 64 bits, and takes the place of the next one
    bool prefetchable = false;
};

struct PciIdentity {
    std::uint16_t vendor;
    std::uint16_t device;
    std::uint16_t subsystem_vendor;
    std::uint16_t subsystem_device;
    std::uint32_t class_code;  // class, subclass, interface
    std::uint8_t revision;
    std::uint32_t msi_vectors = 0;
    std::uint32_t msix_vectors = 0;
    std::uint32_t msix_table =
        0;  // its offset in BAR 0, which shows nothing of it; the pending bits are a page behind
    std::array<PciBar, 6> bars = {};
    bool has_line = true;    // INTA#
    bool has_reset = false;  // of the function
};

}  // namespace iommufd::inline v0_1::model
