// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <atomic>

#include "core/node.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/fd.hpp"
#include "vfio/attachments.hpp"

namespace iommufd::inline v0_1::vfio {

// A bound device, shared by its handle, its regions and the Space that it is attached to.
class DeviceNode final : public dma::Attachable, public dma::IommuDevice, public dma::DirtySource {
public:
    // Made before it is bound, so that nothing but the kernel can refuse after that.
    DeviceNode(User user, sys::Fd fd, std::string name, bool translated);
    ~DeviceNode() override;

    // VFIO_DEVICE_BIND_IOMMUFD: 0 or a negative errno.
    int bind(const VfToken* token) noexcept;
    // Reads what the device is, and arms the interrupts by which the kernel and the device call for
    // attention.
    Result<void> start();
    // In place of both, for a device that the process before this one bound to this very iommufd, and handed over with the
    // eventfds that it had armed (empty: it had none). ENOENT: the iommufd has no such device.
    Result<void> adopt(DeviceId id, sys::Fd request, sys::Fd error);
    // That process had attached it: from here on it is ours to detach.
    Result<void> adopt_attachment() { return attachments_.adopt(); }
    bool has_pasids_attached() noexcept { return attachments_.have_pasids(); }
    bool is_attached() noexcept { return attachments_.have_device(); }

    const std::string& name() const noexcept override { return name_; }
    unsigned dma_bits() const noexcept override { return dma_bits_; }
    dma::IommuDevice* iommu_device() noexcept override { return this; }
    dma::DirtySource* dirty_source() noexcept override { return logs_dma_ ? this : nullptr; }

    DeviceId id() const noexcept override { return id_; }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override { return user_.context(); }
    Result<HwptId> attach(PageTableId table) override { return attach(table, Pasid()); }
    Result<void> detach() override { return detach(Pasid()); }
    Result<HwptId> attach_pasid(PageTableId table, std::uint32_t pasid) override {
        return attach(table, Pasid(pasid));
    }
    Result<void> detach_pasid(std::uint32_t pasid) override { return detach(Pasid(pasid)); }

    Result<void> start_dirty(std::span<const Range> ranges, std::uint64_t page_size) override;
    Result<void> stop_dirty() override;
    Result<void> read_dirty(Range range, std::uint64_t page_size, std::span<std::uint64_t> bitmap) override;

    // EINVAL, EOPNOTSUPP: the device has no such PASID.
    Result<HwptId> attach(PageTableId table, Pasid pasid);
    Result<void> detach(Pasid pasid) { return attachments_.detach(pasid); }

    // 0 or more, or a negative errno.
    int ioctl(unsigned long request, void* argument) const {
        return context()->ioctl(fd_, request, argument);
    }
    // The same as a Result that says what could not be done.
    Result<int> call(Operation operation, unsigned long request, void* argument, std::string_view what) const;
    // VFIO_DEVICE_FEATURE: `use` is kFeatureGet or kFeatureSet; `data` the feature's struct.
    Result<int> feature(std::uint32_t index, std::uint32_t use, std::span<std::byte> data,
                        std::string_view what) const;
    bool has_feature(std::uint32_t index, std::uint32_t use) const noexcept;
    // VFIO_DEVICE_SET_IRQS with `data` after the struct.
    Result<void> set_irqs(std::uint32_t flags, Irq irq, std::uint32_t first, std::uint32_t count,
                          std::span<const int> eventfds, std::string_view what) const;
    Result<IrqInfo> irq_info(Irq irq) const;

    // Once; the destructor does it otherwise. Detaches and unbinds the device and ends its interrupts.
    Result<void> close() noexcept;

    const sys::Fd& fd() const noexcept { return fd_; }
    sys::Kernel& kernel() const noexcept { return context()->kernel(); }
    const DeviceInfo& info() const noexcept { return info_; }
    int request_fd() const noexcept { return request_.number(); }
    int error_fd() const noexcept { return error_.number(); }
    void set_dma_bits(unsigned bits) noexcept { dma_bits_ = bits; }

private:
    Result<void> describe();
    Result<void> arm(Irq irq, sys::Fd& eventfd) const;
    Result<void> check_pasid(PageTableId table, std::uint32_t pasid) const;

    // In this order: the device's file closes, which unbinds it, before the user leaves the iommufd.
    User user_;
    const std::string name_;
    sys::Fd request_;
    sys::Fd error_;
    sys::Fd fd_;
    Attachments attachments_;
    DeviceId id_;
    DeviceInfo info_{};
    bool logs_dma_ = false;
    std::atomic<unsigned> dma_bits_ = 64;
};

}  // namespace iommufd::inline v0_1::vfio
