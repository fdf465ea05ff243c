// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// QEMU's educational device (its docs/specs/edu.rst), without its delays: a write has had its whole effect
// when it returns, but for a DMA that waits for a page (which QEMU's can't ask for).
//
//     0x00 identification   0x04 liveness   0x08 factorial   0x20 status   0x24 interrupt status
//     0x60 raise            0x64 acknowledge
//     0x80 DMA source       0x88 destination   0x90 count    0x98 command: 1 start, 2 to memory, 4 interrupt
//     0x40000 a buffer of 4096 bytes, reached by DMA only
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "model/pci_device.hpp"

namespace iommufd::inline v0_1::model {

class Edu final : public PciDevice {
public:
    static constexpr PciIdentity kIdentity{.vendor = 0x1234,
                                           .device = 0x11e8,
                                           .subsystem_vendor = 0x1af4,
                                           .subsystem_device = 0x1100,
                                           .class_code = 0x00ff00,
                                           .revision = 0x10,
                                           .msi_vectors = 1,
                                           .bars = {{{.size = 1U << 20, .address = 0xfea00000}}}};

    // `dma_bits`: how many bits of an address it can issue; it cuts off the others.
    Edu(Wiring wiring, unsigned dma_bits);

    std::uint64_t read(std::uint64_t offset, unsigned width) override;
    void write(std::uint64_t offset, unsigned width, std::uint64_t value) override;
    std::vector<PolledRegister> polled() const override;
    void page_answered(bool there) override;

private:
    void raise(std::uint32_t causes);
    void acknowledge(std::uint32_t causes);
    void start_dma();
    void finish_dma();

    struct Dma {
        std::uint64_t memory;
        std::span<std::byte> part;  // of the buffer; empty: nothing is moved
        bool to_memory;
    };
    Dma dma();

    Wiring wiring_;
    std::uint64_t dma_mask_;
    std::uint32_t liveness_ = 0;
    std::uint32_t factorial_ = 0;
    std::uint32_t status_ = 0;
    std::uint32_t causes_ = 0;
    std::uint64_t source_ = 0;
    std::uint64_t destination_ = 0;
    std::uint64_t count_ = 0;
    std::uint64_t command_ = 0;
    bool waits_for_page_ = false;
    std::array<std::byte, 4096> buffer_{};
};

}  // namespace iommufd::inline v0_1::model
