// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vfio/device.hpp"

#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/vfio/region.hpp"
#include "uapi/vfio.hpp"
#include "vfio/device_node.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

namespace {

constexpr std::uint64_t kPciCommand = 4;
constexpr std::uint16_t kPciCommandMemory = 1U << 1;
constexpr std::uint16_t kPciCommandMaster = 1U << 2;

}  // namespace

Device::Device(std::shared_ptr<DeviceNode> node) noexcept : node_(std::move(node)), attachable_(node_) {}
Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&&) noexcept = default;
Device::~Device() = default;

DeviceId Device::id() const noexcept { return node_->id(); }
const std::string& Device::name() const noexcept { return node_->name(); }
int Device::fd() const noexcept { return node_->fd().number(); }
const DeviceInfo& Device::info() const noexcept { return node_->info(); }
void Device::set_dma_bits(unsigned bits) const noexcept { node_->set_dma_bits(bits); }

Result<HwptId> Device::attach(PageTableId table) const { return node_->attach(table, nullptr); }
Result<HwptId> Device::attach(PageTableId table, std::uint32_t pasid) const {
    return node_->attach(table, &pasid);
}
Result<void> Device::detach() const { return node_->detach(nullptr); }
Result<void> Device::detach(std::uint32_t pasid) const { return node_->detach(&pasid); }

Result<void> Device::enable() const {
    auto config = region(abi::kPciConfig);
    if (!config) return config.error();
    return config->read<std::uint16_t>(kPciCommand).and_then([&](std::uint16_t command) {
        return config->write<std::uint16_t>(
            kPciCommand, static_cast<std::uint16_t>(command | kPciCommandMemory | kPciCommandMaster));
    });
}

Result<IrqInfo> Device::irq_info(Irq irq) const { return node_->irq_info(irq); }

Result<void> Device::set_irqs(Irq irq, std::uint32_t first, std::span<const int> eventfds) const {
    return node_->set_irqs(abi::kIrqSetDataEventfd | abi::kIrqSetTrigger, irq, first,
                           static_cast<std::uint32_t>(eventfds.size()), eventfds, "set the interrupts");
}

Result<void> Device::disable_irqs(Irq irq) const {
    return node_->set_irqs(abi::kIrqSetDataNone | abi::kIrqSetTrigger, irq, 0, 0, {},
                           "disable the interrupts");
}

Result<void> Device::mask(Irq irq, std::uint32_t vector) const {
    return node_->set_irqs(abi::kIrqSetDataNone | abi::kIrqSetMask, irq, vector, 1, {}, "mask an interrupt");
}

Result<void> Device::unmask(Irq irq, std::uint32_t vector) const {
    return node_->set_irqs(abi::kIrqSetDataNone | abi::kIrqSetUnmask, irq, vector, 1, {},
                           "unmask an interrupt");
}

Result<void> Device::trigger(Irq irq, std::uint32_t vector) const {
    return node_->set_irqs(abi::kIrqSetDataNone | abi::kIrqSetTrigger, irq, vector, 1, {},
                           "trigger an interrupt");
}

int Device::request_fd() const noexcept { return node_->request_fd(); }
int Device::error_fd() const noexcept { return node_->error_fd(); }

Result<void> Device::reset() const {
    return node_->call(Operation::vfio_reset, abi::kDeviceReset, nullptr, "reset the function")
        .transform([](int) {});
}

Result<std::vector<ResetPeer>> Device::reset_peers() const {
    return guarded(Operation::vfio_hot_reset_info, [&]() -> Result<std::vector<ResetPeer>> {
        std::vector<abi::PciDependentDevice> found(8);
        abi::PciHotResetInfo header{};
        std::vector<std::byte> buffer;
        for (;;) {
            buffer.resize(sizeof header + found.size() * sizeof found[0]);
            header = {.argsz = static_cast<std::uint32_t>(buffer.size()), .flags = 0, .count = 0};
            std::memcpy(buffer.data(), &header, sizeof header);
            const int result = node_->ioctl(abi::kDeviceGetPciHotResetInfo, buffer.data());
            std::memcpy(&header, buffer.data(), sizeof header);
            if (result == -ENOSPC && header.count > found.size()) {
                found.resize(header.count);
                continue;
            }
            if (result < 0)
                return failed(Operation::vfio_hot_reset_info, -result, [&] {
                    return compose("cannot tell what a bus reset of ", name(), " affects");
                });
            break;
        }
        std::vector<ResetPeer> peers;
        for (std::uint32_t i = 0; i < header.count; ++i) {
            abi::PciDependentDevice device;
            std::memcpy(&device, buffer.data() + sizeof header + i * sizeof device, sizeof device);
            const PciAddress address{.domain = device.segment,
                                     .bus = device.bus,
                                     .device = static_cast<unsigned>(device.devfn >> 3),
                                     .function = device.devfn & 7U};
            peers.push_back({.address = address.text(), .owned = device.devid != abi::kDevidNotOwned});
        }
        return peers;
    });
}

Result<void> Device::hot_reset() const {
    // With devices opened as cdevs the list of groups is empty: the iommufd proves the ownership.
    abi::PciHotReset command{.argsz = sizeof command, .flags = 0, .count = 0};
    return node_->call(Operation::vfio_hot_reset, abi::kDevicePciHotReset, &command, "reset the bus")
        .transform([](int) {});
}

}  // namespace iommufd::inline v0_1::vfio
