// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a modelled PCI device is to the rest: an identity, registers, DMA and interrupts.
#pragma once

#include <cstdint>

#include "model/dma_port.hpp"
#include "model/pci_irqs.hpp"

namespace iommufd::inline v0_1::model {

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
    std::uint32_t bar0_size = 0;
    std::uint64_t bar0_address = 0;
    bool bar0_is_wide = false;  // of 64 bits
    bool has_reset = false;     // of the function
};

// Calls come one at a time.
class PciDevice {
public:
    // What the device uses; both outlive it.
    struct Wiring {
        DmaPort& dma;
        PciIrqs& irqs;
    };

    PciDevice() = default;
    PciDevice(const PciDevice&) = delete;
    PciDevice& operator=(const PciDevice&) = delete;
    virtual ~PciDevice() = default;

    // BAR 0, by accesses of 1, 2, 4 or 8 bytes, aligned to their width.
    virtual std::uint64_t read(std::uint64_t offset, unsigned width) = 0;
    virtual void write(std::uint64_t offset, unsigned width, std::uint64_t value) = 0;
    // Of those that have one: everything is as after power on, but what the device keeps.
    virtual void reset() {}
    // The answer to what it asked of its DmaPort.
    virtual void page_answered(bool /*there*/) {}
};

}  // namespace iommufd::inline v0_1::model
