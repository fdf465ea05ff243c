// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Devices that keep a log of what they write.
#pragma once

#include <cerrno>
#include <set>
#include <vector>

#include "iommufd/dma/attachable.hpp"
#include "support/allocation_faults.hpp"

namespace iommufd::inline v0_1::support {

class FakeLog final : public dma::DirtySource {
public:
    Result<void> start_dirty(std::span<const Range> logged, std::uint64_t) override {
        const AllocationFaults::Armed not_here(0);
        if (fail_start != 0) return Error(Operation::vfio_feature, fail_start);
        if (logged.empty() || logged.size() > 256) return Error(Operation::vfio_feature, EINVAL);
        ranges.assign(logged.begin(), logged.end());
        on = true;
        pages_.clear();
        return {};
    }
    Result<void> stop_dirty() override {
        if (fail_stop != 0) return Error(Operation::vfio_feature, fail_stop);
        on = false;
        return {};
    }
    Result<void> read_dirty(Range range, std::uint64_t page_size, std::span<std::uint64_t> bitmap) override {
        if (!on) return Error(Operation::vfio_feature, EINVAL);
        for (auto page = pages_.lower_bound(range.first); page != pages_.end() && *page <= range.last;
             page = pages_.erase(page)) {
            const std::uint64_t bit = (*page - range.first) / page_size;
            bitmap[bit / 64] |= std::uint64_t{1} << bit % 64;
        }
        return {};
    }
    void write(Iova page) {
        const AllocationFaults::Armed not_here(0);
        for (const Range& range : ranges)
            if (on && range.contains(page)) pages_.insert(page);
    }

    bool on = false;
    std::vector<Range> ranges;
    int fail_start = 0;  // positive errnos
    int fail_stop = 0;

private:
    std::set<Iova> pages_;
};

// Another device, with a log.
class LoggingDevice final : public dma::Attachable, public dma::IommuDevice {
public:
    explicit LoggingDevice(std::shared_ptr<dma::Attachable> device) : device_(std::move(device)) {}

    const std::string& name() const noexcept override { return device_->name(); }
    dma::IommuDevice* iommu_device() noexcept override { return this; }
    dma::DirtySource* dirty_source() noexcept override { return &log; }
    DeviceId id() const noexcept override { return device_->iommu_device()->id(); }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override {
        return device_->iommu_device()->context();
    }
    Result<HwptId> attach(PageTableId table) override {
        logged_when_attached = log.on;
        if (fail_attach != 0) return Error(Operation::vfio_attach, fail_attach);
        return device_->iommu_device()->attach(table);
    }
    Result<void> detach() override { return device_->iommu_device()->detach(); }

    FakeLog log;
    bool logged_when_attached = false;
    int fail_attach = 0;

private:
    const std::shared_ptr<dma::Attachable> device_;
};

}  // namespace iommufd::inline v0_1::support
