// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The device that a Space attaches in place of the one whose guest has tables.
//
// What changes the attachment takes a turn, so that the kernel is called without the mutex; the mutex guards what stands
// between the turns.
#pragma once

#include <vector>

#include "iommufd/viommu/guest_device.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::viommu {

using Pasid = std::optional<std::uint32_t>;  // nothing: the device itself

class GuestState final : public dma::Attachable, public dma::IommuDevice {
public:
    // `device` is claimed, has an IommuDevice, and is released with this.
    explicit GuestState(std::shared_ptr<dma::Attachable> device) noexcept;
    ~GuestState() override;

    const std::string& name() const noexcept override { return device_->name(); }
    unsigned dma_bits() const noexcept override { return device_->dma_bits(); }
    dma::IommuDevice* iommu_device() noexcept override { return this; }

    DeviceId id() const noexcept override { return inner_.id(); }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override { return inner_.context(); }
    bool nests() const noexcept override { return true; }
    Result<HwptId> attach(PageTableId table) override;
    Result<HwptId> attach_to(const core::Hwpt& table) override;
    Result<void> detach() override;

    Translation translation() const;
    Result<void> install(core::HwData data, const InstallOptions& options);
    Result<void> bypass();
    Result<void> block();
    Result<void> remove(std::uint32_t pasid);
    Result<void> invalidate(const core::Invalidation& invalidation, std::uint32_t& done, Pasid pasid) const;
    Result<core::Viommu> viommu(const core::Viommu::Options& options) const;

private:
    using Table = std::shared_ptr<const core::Hwpt>;

    struct PasidTable {
        std::uint32_t pasid;
        Table table;
    };

    // The turn of one change of the attachment.
    class Turn;

    std::string describe(Pasid pasid) const;
    // ENODEV, in the words of `what`: the device is in no space.
    Result<core::Hwpt> parent(std::string_view what) const;
    Result<core::Hwpt> nest(core::HwData data, const InstallOptions& options, const core::Hwpt& parent);
    // Puts in place what the kernel has attached; returns what was there, to be freed without the mutex.
    Table publish(Translation translation, Table table) noexcept;
    std::vector<PasidTable>::iterator find(std::uint32_t pasid) noexcept IOMMUFD_REQUIRES(mutex_);

    const std::shared_ptr<dma::Attachable> device_;
    dma::IommuDevice& inner_;
    bool pasids_ = false;  // tables are made so that PASIDs can have some beside them; of the turn

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    bool changing_ IOMMUFD_GUARDED_BY(mutex_) = false;
    std::shared_ptr<core::ObjectNode> parent_ IOMMUFD_GUARDED_BY(mutex_);  // while the device is in a space
    Translation translation_ IOMMUFD_GUARDED_BY(mutex_) = Translation::none;
    Table table_ IOMMUFD_GUARDED_BY(mutex_);  // while it is nested
    std::vector<PasidTable> pasid_tables_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::viommu
