// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The configuration space that VFIO shows of a conventional PCI device: a header, and one
// capability, of MSI or of MSI-X, or none. Some bits can be written, most can't.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "model/pci_device.hpp"

namespace iommufd::inline v0_1::model {

class PciConfig {
public:
    static constexpr std::size_t kSize = 256;

    explicit PciConfig(const PciIdentity& identity);

    // Of a range inside kSize.
    void read(std::size_t offset, std::span<std::byte> to) const;
    void write(std::size_t offset, std::span<const std::byte> from);

    bool memory_enabled() const { return (command() & 0x2) != 0; }
    bool bus_master() const { return (command() & 0x4) != 0; }
    bool line_disabled() const { return (command() & 0x400) != 0; }

    std::span<const std::byte> bytes() const { return bytes_; }

private:
    unsigned command() const;
    void put_bar(std::size_t offset, const PciBar& bar);
    // Each returns where its capability ends.
    std::size_t put_msi();
    std::size_t put_msix(const PciIdentity& identity);
    void put(std::size_t offset, std::size_t width, std::uint32_t value, std::uint32_t writable = 0);

    std::array<std::byte, kSize> bytes_{};
    std::array<std::byte, kSize> writable_{};  // bit by bit
};

}  // namespace iommufd::inline v0_1::model
