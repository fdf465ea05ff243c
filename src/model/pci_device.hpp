// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a modelled PCI device is to the rest: an identity, registers, memory, DMA and interrupts.
//
// A new one is a class of this kind in a file of its own, and a case in Machine::State::add().
#pragma once

#include <cstdint>
#include <vector>

#include "model/dma_port.hpp"
#include "model/pci_identity.hpp"
#include "model/pci_irqs.hpp"

namespace iommufd::inline v0_1::model {

// One that a poller looks at where a program has mapped BAR 0 (`doorbells=poll`).
struct PolledRegister {
    enum class Kind : std::uint8_t {
        value,     // shows what the device says of it; the same value written again isn't seen
        command,   // all ones while the device does what was written
        doorbell,  // all ones, whatever was written
    };
    std::uint64_t offset;
    unsigned width;
    Kind kind = Kind::value;
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
    // Those that programs write to, and what they read, in the order in which the device is to learn of them: last what starts
    // something. None: it can't be polled.
    virtual std::vector<PolledRegister> polled() const { return {}; }
    // The answer to what it asked of its DmaPort.
    virtual void page_answered(bool /*there*/) {}
};

}  // namespace iommufd::inline v0_1::model
