// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vfio/device.hpp"

#include <algorithm>
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

Result<HwptId> Device::attach(PageTableId table) const { return node_->attach(table, Pasid()); }
Result<HwptId> Device::attach(PageTableId table, std::uint32_t pasid) const {
    return node_->attach(table, Pasid(pasid));
}
Result<void> Device::detach() const { return node_->detach(Pasid()); }
Result<void> Device::detach(std::uint32_t pasid) const { return node_->detach(Pasid(pasid)); }

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
    // To the kernel no vector at all would mean something else.
    if (eventfds.empty())
        return guarded(Operation::vfio_set_irqs, [&]() -> Result<void> {
            return Error::refused(EINVAL, compose("cannot set the interrupts of ", name()),
                                  "no eventfd was given", "pass one for each vector");
        });
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

Result<void> Device::set_unmask_eventfd(Irq irq, int eventfd) const {
    return node_->set_irqs(abi::kIrqSetDataEventfd | abi::kIrqSetUnmask, irq, 0, 1, {&eventfd, 1},
                           "set the unmasking eventfd");
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
        for (std::uint32_t i = 0; i < std::min<std::size_t>(header.count, found.size()); ++i) {
            abi::PciDependentDevice device;
            std::memcpy(&device, buffer.data() + sizeof header + i * sizeof device, sizeof device);
            const PciAddress address{.domain = device.segment,
                                     .bus = device.bus,
                                     .device = static_cast<unsigned>(device.devfn >> 3),
                                     .function = device.devfn & 7U};
            const bool owned = device.devid != abi::kDevidNotOwned;
            peers.push_back({.address = address.text(),
                             .owned = owned,
                             .id = owned ? DeviceId{device.devid} : DeviceId{}});
        }
        return peers;
    });
}

Result<void> Device::hot_reset() const {
    // With devices opened as cdevs the list of groups is empty: the iommufd proves the ownership.
    abi::PciHotReset command{.argsz = sizeof command, .flags = 0, .count = 0};
    const int result = node_->ioctl(abi::kDevicePciHotReset, &command);
    if (result >= 0) return {};
    return guarded(Operation::vfio_hot_reset, [&]() -> Result<void> {
        std::string what = compose("cannot reset the bus of ", name());
        const auto peers = result == -EINVAL ? reset_peers() : std::vector<ResetPeer>();
        std::string strangers;
        if (peers)
            for (const ResetPeer& peer : *peers)
                if (!peer.owned) strangers += compose(strangers.empty() ? "" : ", ", peer.address);
        if (strangers.empty()) return Error(Operation::vfio_hot_reset, -result, std::move(what));
        return Error::refused(
            EINVAL, std::move(what),
            compose("it would also reset ", strangers, ", not bound to '", node_->context()->label(), "'"),
            "bind those to the same iommufd first");
    });
}

Result<void> Device::destroy() && {
    if (!node_) return {};
    // The handle itself holds two.
    if (const long others = node_.use_count() - 2; others > 0)
        return guarded(Operation::close, [&]() -> Result<void> {
            return Error::refused(
                EBUSY, compose("cannot close ", name()),
                compose(others, others == 1 ? " space or region keeps it" : " spaces or regions keep it"),
                "detach it first, or let the handle go: the device follows the last of them");
        });
    auto closed = node_->close();
    node_.reset();
    attachable_.reset();
    return closed;
}

}  // namespace iommufd::inline v0_1::vfio
