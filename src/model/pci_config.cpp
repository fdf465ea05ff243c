// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pci_config.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::size_t kCapability = 0x40;
// Of a BAR.
constexpr std::uint32_t kWide = 0x4;
constexpr std::uint32_t kPrefetchable = 0x8;

constexpr std::uint32_t kCommandWritable = 0x0507;  // I/O, memory, bus master, SERR#, interrupt disable
// As a device is found behind vfio-pci: its memory enabled, its bus mastering not.
constexpr std::uint32_t kCommand = 0x0103;

}  // namespace

PciConfig::PciConfig(const PciIdentity& identity) {
    put(0x00, 2, identity.vendor);
    put(0x02, 2, identity.device);
    put(0x04, 2, kCommand, kCommandWritable);
    put(0x08, 1, identity.revision);
    put(0x09, 3, identity.class_code);
    put(0x0c, 1, 0, 0xff);
    for (std::size_t i = 0; i < identity.bars.size(); ++i)
        if (identity.bars[i].size != 0) put_bar(0x10 + 4 * i, identity.bars[i]);
    put(0x2c, 2, identity.subsystem_vendor);
    put(0x2e, 2, identity.subsystem_device);
    put(0x3c, 1, identity.has_line ? 0x0a : 0, 0xff);  // interrupt line
    put(0x3d, 1, identity.has_line ? 1 : 0);           // INTA#
    std::size_t end = kCapability;
    if (identity.msix_vectors != 0 || identity.msi_vectors != 0) {
        put(0x06, 2, 0x0010);  // has capabilities
        put(0x34, 1, kCapability);
        end = identity.msix_vectors != 0 ? put_msix(identity) : put_msi();
    }
    std::fill(writable_.begin() + static_cast<std::ptrdiff_t>(end), writable_.end(), std::byte{0xff});
}

// What isn't writable of it is how its size is found.
void PciConfig::put_bar(std::size_t offset, const PciBar& bar) {
    const std::uint64_t writable = ~(bar.size - 1);
    const std::uint32_t kind = (bar.wide ? kWide : 0) | (bar.prefetchable ? kPrefetchable : 0);
    put(offset, 4, static_cast<std::uint32_t>(bar.address) | kind, static_cast<std::uint32_t>(writable));
    if (!bar.wide) return;
    put(offset + 4, 4, static_cast<std::uint32_t>(bar.address >> 32),
        static_cast<std::uint32_t>(writable >> 32));
}

std::size_t PciConfig::put_msi() {
    put(kCapability, 2, 0x0005);
    // 64-bit, one vector. SET_IRQS enables it, not this; what vfio-pci does let through is odd, but so.
    put(kCapability + 2, 2, 0x0080, 0x000e);
    put(kCapability + 4, 4, 0, ~0U);
    put(kCapability + 8, 4, 0, ~0U);
    put(kCapability + 12, 2, 0, 0xffff);
    return kCapability + 14;
}

std::size_t PciConfig::put_msix(const PciIdentity& identity) {
    put(kCapability, 2, 0x0011);
    put(kCapability + 2, 2, identity.msix_vectors - 1);
    put(kCapability + 4, 4, identity.msix_table);
    put(kCapability + 8, 4, identity.msix_table + 0x1000);
    return kCapability + 12;
}

void PciConfig::put(std::size_t offset, std::size_t width, std::uint32_t value, std::uint32_t writable) {
    for (std::size_t i = 0; i < width; ++i) {
        bytes_[offset + i] = static_cast<std::byte>(value >> (8 * i));
        writable_[offset + i] = static_cast<std::byte>(writable >> (8 * i));
    }
}

unsigned PciConfig::command() const {
    return std::to_integer<unsigned>(bytes_[4]) | std::to_integer<unsigned>(bytes_[5]) << 8;
}

void PciConfig::read(std::size_t offset, std::span<std::byte> to) const {
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
}

void PciConfig::write(std::size_t offset, std::span<const std::byte> from) {
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::byte& byte = bytes_[offset + i];
        byte = (byte & ~writable_[offset + i]) | (from[i] & writable_[offset + i]);
    }
}

}  // namespace iommufd::inline v0_1::model
