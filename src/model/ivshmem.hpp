// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// QEMU's ivshmem-plain (its docs/specs/ivshmem-spec.rst), revision 1: memory in BAR 2, and in BAR 0 registers without effects.
// It has no interrupts, no DMA and no peers.
//
//     0x00 interrupt mask   0x04 interrupt status, 0 once it was read   0x08 position: 0   0x0c doorbell: nobody hears it
#pragma once

#include "model/pci_device.hpp"

namespace iommufd::inline v0_1::model {

class Ivshmem final : public PciDevice {
public:
    static constexpr std::uint64_t kMemoryAt = std::uint64_t{1} << 46;  // a multiple of every size

    // `size`: of BAR 2, a power of two of whole pages.
    static constexpr PciIdentity identity(std::uint64_t size) {
        return {.vendor = 0x1af4,
                .device = 0x1110,
                .subsystem_vendor = 0x1af4,
                .subsystem_device = 0x1100,
                .class_code = 0x050000,
                .revision = 0x01,
                .bars = {{{.size = 0x100, .address = 0xfe600000},
                          {},
                          {.size = size, .address = kMemoryAt, .wide = true, .prefetchable = true}}},
                .has_line = false,
                .has_reset = true};
    }

    std::uint64_t read(std::uint64_t offset, unsigned width) override;
    void write(std::uint64_t offset, unsigned width, std::uint64_t value) override;
    void reset() override { mask_ = status_ = 0; }

private:
    std::uint32_t mask_ = 0;
    std::uint32_t status_ = 0;
};

}  // namespace iommufd::inline v0_1::model
