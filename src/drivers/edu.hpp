// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// QEMU's educational device: a PCI card that does one thing, DMA between memory and a buffer of its own
// (QEMU's docs/specs/edu.rst).
//
//     auto edu = drivers::Edu::start(device).value();
//     edu.copy(target, source, 4_KiB).value();       // memory -> the card -> memory
//
// The card drives 28 address bits and cuts off higher ones, so its DMA must stay below 256 MiB: the driver
// refuses what doesn't. It says nothing when a DMA fails.
//
// Threads: one at a time.
#pragma once

#include "drivers/driver.hpp"
#include "drivers/interrupt.hpp"
#include "iommufd/vfio/region.hpp"

namespace iommufd::inline v0_1::drivers {

class Edu final : public Driver {
public:
    static constexpr Kind kKind{.name = "edu", .dma_bits = 28, .window_bytes = 0};
    static constexpr std::uint64_t kBufferSize = 4096;

    // ENODEV: the card doesn't identify itself as edu.
    static Result<Edu> start(const vfio::Device& device);
    Edu(Edu&& other) noexcept : bar_(std::move(other.bar_)), interrupts_(std::move(other.interrupts_)) {}
    Edu(vfio::Region bar, Interrupts interrupts) : bar_(std::move(bar)), interrupts_(std::move(interrupts)) {}

    Result<std::string> identify() override;
    bool keeps_what_it_reads() const noexcept override { return false; }
    std::uint64_t most() const noexcept override { return kBufferSize; }
    std::uint64_t unit() const noexcept override { return 1; }
    Result<void> read_memory(Iova source, std::uint64_t length) override;
    Result<void> write_memory(Iova target, std::uint64_t length) override;
    std::uint64_t interrupts() const noexcept override { return interrupts_.count(); }

    // Any length: through the card's buffer, piece by piece.
    Result<void> copy(Iova target, Iova source, std::uint64_t length);

private:
    Result<void> transfer(std::uint64_t from, std::uint64_t to, std::uint64_t length, std::uint64_t command);

    vfio::Region bar_;
    Interrupts interrupts_;
};

}  // namespace iommufd::inline v0_1::drivers
