// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A PCI device bound to vfio-pci, and a descriptor of its cdev. Any number may open it; the first that
// binds owns it until it is closed, and only for the owner does anything but BIND work.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/bar_memory.hpp"
#include "model/context.hpp"
#include "model/device_turn.hpp"
#include "model/dma_buffer.hpp"
#include "model/dma_port.hpp"
#include "model/file.hpp"
#include "model/file_table.hpp"
#include "model/page_answers.hpp"
#include "model/pci_config.hpp"
#include "model/pci_device.hpp"
#include "model/pci_endpoint.hpp"
#include "model/pci_irqs.hpp"
#include "model/polled_registers.hpp"
#include "model/vintage.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::model {

class VfioDevice {
public:
    using Make = std::function<std::unique_ptr<PciDevice>(PciDevice::Wiring)>;

    VfioDevice(Hardware& hardware, Worker& worker, FileTable& files, const DeviceDescription& description,
               const PciIdentity& identity, const Make& make)
        : identity_(identity),
          name_(description.name),
          group_is_viable_(viable(description)),
          iommu_(hardware.iommu),
          takes_pasids_(hardware.kernel >= vintage::kPasids),
          exports_bars_(hardware.kernel >= vintage::kDmaBufferOfBar),
          first_region_(hardware.first_region),
          mappings_(hardware.mappings),
          files_(files),
          dma_(hardware.blocked, name_, page_answers_.teller()),
          endpoint_(hardware.iommu, dma_, description.page_requests),
          irqs_(worker, identity),
          device_(make(PciDevice::Wiring{.dma = dma_, .irqs = irqs_})),
          config_(identity) {
        for (std::size_t bar = 1; bar < memories_.size(); ++bar)
            if (identity.bars[bar].size != 0)
                memories_[bar] = std::make_shared<BarMemory>(identity.bars[bar].size);
        if (description.polls_doorbells)
            polled_ = std::make_unique<PolledRegisters>(identity.bars[0].size, *device_);
        if (description.page_requests)
            page_answers_.watch(worker, [this](bool there) { page_answered(there); });
    }

    const std::string& name() const noexcept { return name_; }
    const PciIdentity& identity() const noexcept { return identity_; }
    bool request() { return irqs_.request(); }
    bool bound() const IOMMUFD_EXCLUDES(turn_);
    // The context that it is bound to, or null.
    std::shared_ptr<Context> context() const IOMMUFD_EXCLUDES(turn_);

private:
    friend class VfioFile;

    class BarRegisters;

    // Whether no driver of the host's has a device of its group.
    static bool viable(const DeviceDescription& description);

    int bind(const void* owner, user::Address argument) IOMMUFD_EXCLUDES(turn_);
    void release(const void* owner) IOMMUFD_EXCLUDES(turn_);
    bool owned_by(const void* owner) const IOMMUFD_EXCLUDES(turn_);

    void reset() IOMMUFD_REQUIRES(turn_);
    void page_answered(bool there) IOMMUFD_EXCLUDES(turn_);
    int attach(user::Address argument) IOMMUFD_REQUIRES(turn_);
    int detach(user::Address argument) IOMMUFD_REQUIRES(turn_);
    int info(user::Address argument) const;
    int region_info(user::Address argument) const IOMMUFD_EXCLUDES(turn_);
    int irq_info(user::Address argument) const;
    int set_irqs(user::Address argument);
    int feature(user::Address argument);
    // vfio_dma_buf.cpp
    int export_dma_buffer(std::uint32_t flags, user::Address data, std::uint32_t size)
        IOMMUFD_EXCLUDES(turn_);
    int dma_buffer(const uapi::vfio::FeatureDmaBuf& wanted,
                   const std::vector<uapi::vfio::RegionDmaRange>& ranges, std::shared_ptr<DmaBuffer>& buffer)
        IOMMUFD_REQUIRES(turn_);
    void revoke_dma_buffers(bool revoked) IOMMUFD_REQUIRES(turn_);
    bool peer_access(std::uint64_t offset, std::byte* bytes, std::size_t length, bool write) noexcept
        IOMMUFD_EXCLUDES(turn_);
    int hot_reset(user::Address argument) const;

    ssize_t access(user::Address buffer, std::size_t count, std::uint64_t position, bool write)
        IOMMUFD_REQUIRES(turn_);
    ssize_t access_config(user::Address buffer, std::size_t count, std::uint64_t offset, bool write)
        IOMMUFD_REQUIRES(turn_);
    bool in_msix_table(std::uint64_t offset) const;
    std::uint64_t read_register(std::uint64_t offset, unsigned width) IOMMUFD_REQUIRES(turn_);
    void write_register(std::uint64_t offset, unsigned width, std::uint64_t value) IOMMUFD_REQUIRES(turn_);
    ssize_t access_registers(user::Address buffer, std::size_t count, std::uint64_t offset, bool write)
        IOMMUFD_REQUIRES(turn_);
    static ssize_t access_memory(BarMemory& memory, user::Address buffer, std::size_t count,
                                 std::uint64_t offset, bool write);
    void decode_memory() IOMMUFD_REQUIRES(turn_);
    // What can be mapped of a region; null: nothing.
    BarMemory* memory_of(std::uint64_t region) const IOMMUFD_REQUIRES(turn_);
    // What a mapping of its file shows: -EINVAL where that can't be mapped.
    int mappable(std::size_t length, int flags, std::uint64_t position, BarMemory*& memory,
                 std::uint64_t& offset) const IOMMUFD_REQUIRES(turn_);
    void is_mapped(const BarMemory& memory) IOMMUFD_REQUIRES(turn_);

    const PciIdentity identity_;
    const std::string name_;
    const bool group_is_viable_;
    const Iommu& iommu_;
    const bool takes_pasids_;
    const bool exports_bars_;
    const std::uint64_t& first_region_;
    Mappings& mappings_;
    std::array<std::shared_ptr<BarMemory>, 6>
        memories_;  // of BARs but the first; all are made with the device
    FileTable& files_;
    PageAnswers page_answers_;
    DmaPort dma_;
    PciEndpoint endpoint_;
    PciIrqs irqs_;
    mutable DeviceTurn turn_;  // taken before a context's mutex
    const std::unique_ptr<PciDevice> device_ IOMMUFD_GUARDED_BY(turn_);
    PciConfig config_ IOMMUFD_GUARDED_BY(turn_);
    std::vector<std::weak_ptr<DmaBuffer>> exported_ IOMMUFD_GUARDED_BY(turn_);
    std::shared_ptr<Registers> registers_ IOMMUFD_GUARDED_BY(turn_);  // once a part of BAR 0 is exported
    const void* owner_ IOMMUFD_GUARDED_BY(turn_) = nullptr;
    std::shared_ptr<Context> context_ IOMMUFD_GUARDED_BY(turn_);
    std::uint32_t device_id_ IOMMUFD_GUARDED_BY(turn_) = 0;
    std::unique_ptr<PolledRegisters> polled_ IOMMUFD_GUARDED_BY(turn_);  // null: BAR 0 isn't mapped
    std::unique_ptr<Poller> poller_ IOMMUFD_GUARDED_BY(turn_);           // while a program has mapped it
};

class VfioFile final : public File, public std::enable_shared_from_this<VfioFile> {
public:
    explicit VfioFile(VfioDevice& device) : device_(device) {}
    ~VfioFile() override { device_.release(this); }

    int ioctl(unsigned long request, user::Address argument) override;
    ssize_t read(user::Address buffer, std::size_t count) override;
    ssize_t write(user::Address buffer, std::size_t count) override;
    ssize_t pread(user::Address buffer, std::size_t count, std::uint64_t position) override;
    ssize_t pwrite(user::Address buffer, std::size_t count, std::uint64_t position) override;
    int mmap(void** address, std::size_t length, int protection, int flags, std::uint64_t offset) override;
    int show(int own, std::size_t length, int protection, int flags, std::uint64_t offset) override;

private:
    ssize_t access(user::Address buffer, std::size_t count, std::uint64_t position, bool write);
    template <class Map>
    int show_memory(std::size_t length, int flags, std::uint64_t position, Map&& map);

    VfioDevice& device_;
};

}  // namespace iommufd::inline v0_1::model
