// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/driver.hpp"

#include <cerrno>

#include "drivers/edu.hpp"
#include "drivers/nvme.hpp"
#include "drivers/virtio_blk.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

struct PciIdentity {
    std::uint32_t id;          // vendor and device, as config space has them
    std::uint32_t class_code;  // the upper three bytes
};

constexpr std::uint32_t kEduId = 0x11e8'1234;
constexpr std::uint32_t kNvmeClass = 0x01'08'02;
constexpr std::uint32_t kVirtioBlock = 2;

Result<PciIdentity> pci_identity(const vfio::Device& device) {
    auto config = device.region(uapi::vfio::kPciConfig);
    if (!config) return config.error();
    auto id = config->read<std::uint32_t>(0);
    if (!id) return id.error();
    return config->read<std::uint32_t>(8).transform(
        [&](std::uint32_t word) { return PciIdentity{.id = *id, .class_code = word >> 8}; });
}

Error no_driver(const std::string& device) {
    return Error::refused(ENODEV, compose("cannot drive ", device), "there is no driver for it here",
                          "there are drivers for QEMU's edu, NVMe controllers and virtio block devices");
}

// A virtio block device as a Driver.
class BlockDriver final : public Driver {
public:
    BlockDriver(VirtioBlk disk, VirtioBlk::Identity identity)
        : disk_(std::move(disk)), identity_(std::move(identity)) {}

    Result<std::string> identify() override {
        return compose("virtio-blk ", identity_.serial.empty() ? "without a serial number" : identity_.serial,
                       ", ", size_text(identity_.capacity));
    }
    bool keeps_what_it_reads() const noexcept override { return true; }
    std::uint64_t most() const noexcept override { return 64_KiB; }
    std::uint64_t unit() const noexcept override { return identity_.block_size; }
    Result<void> read_memory(Iova source, std::uint64_t length) override {
        return disk_.write(0, source, length);
    }
    Result<void> write_memory(Iova target, std::uint64_t length) override {
        return disk_.read(0, target, length);
    }
    Result<void> flush() override { return disk_.flush(); }
    std::uint64_t interrupts() const noexcept override { return 0; }

private:
    VirtioBlk disk_;
    const VirtioBlk::Identity identity_;
};

}  // namespace

Result<std::optional<Kind>> find(const vfio::Device& device) {
    return guarded(Operation::none, [&]() -> Result<std::optional<Kind>> {
        if (!device.info().is_pci) return std::optional<Kind>();
        return pci_identity(device).transform([](const PciIdentity& identity) -> std::optional<Kind> {
            if (identity.id == kEduId) return Edu::kKind;
            if (identity.class_code == kNvmeClass) return Nvme::kKind;
            return std::nullopt;
        });
    });
}

Result<std::optional<Kind>> find(const vdpa::Device& device) {
    if (device.device_id() != kVirtioBlock) return std::optional<Kind>();
    return std::optional(
        Kind{.name = "virtio-blk", .dma_bits = 64, .window_bytes = VirtioBlk::bytes_needed()});
}

Result<std::unique_ptr<Driver>> start(const vfio::Device& device, Window window) {
    return guarded(Operation::none, [&]() -> Result<std::unique_ptr<Driver>> {
        auto identity = pci_identity(device);
        if (!identity) return identity.error();
        if (identity->id == kEduId) {
            auto edu = Edu::start(device);
            if (!edu) return edu.error();
            return std::unique_ptr<Driver>(std::make_unique<Edu>(std::move(*edu)));
        }
        if (identity->class_code != kNvmeClass) return no_driver(device.name());
        return Nvme::start(device, window).transform([](auto&& nvme) {
            return std::unique_ptr<Driver>(std::forward<decltype(nvme)>(nvme));
        });
    });
}

Result<std::unique_ptr<Driver>> start(const vdpa::Device& device, Window window) {
    return guarded(Operation::none, [&]() -> Result<std::unique_ptr<Driver>> {
        if (device.device_id() != kVirtioBlock) return no_driver(device.name());
        auto disk = VirtioBlk::start(device, window);
        if (!disk) return disk.error();
        auto identity = disk->identify();
        if (!identity) return identity.error();
        return std::unique_ptr<Driver>(std::make_unique<BlockDriver>(std::move(*disk), std::move(*identity)));
    });
}

}  // namespace iommufd::inline v0_1::drivers
