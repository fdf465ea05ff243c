// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel's mock device as one that writes to memory, and as a device of a Space.
#pragma once

#include <cerrno>

#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/attachable.hpp"
#include "kernel/mock.hpp"

namespace iommufd::inline v0_1::kernel_tests {

// As if a device behind this page table had written to that address: 0 or a negative errno; EINVAL: it doesn't track.
inline int set_dirty(const core::Context& context, HwptId table, Iova iova) {
    std::uint64_t first_bit = 1;
    uapi::mock::TestCmd command{};
    command.op = uapi::mock::kDirty;
    command.id = table.value;
    command.dirty = {.flags = 0,
                     .iova = iova.value,
                     .length = uapi::mock::kPageSize,
                     .page_size = uapi::mock::kPageSize,
                     .uptr = reinterpret_cast<std::uintptr_t>(&first_bit),
                     .out_nr_dirty = 0};
    return mock_operation(context, command);
}

// A mock device is attached from its first moment on: to an IOAS of its own, which it goes back to.
class MockSpaceDevice final : public dma::Attachable, public dma::IommuDevice {
public:
    // `own_iommu`: it takes no page table that was made for another device.
    static Result<std::shared_ptr<MockSpaceDevice>> make(const Backend& backend, std::string name,
                                                         std::uint32_t flags = 0, bool own_iommu = false) {
        auto user = backend.connect(name);
        if (!user) return user.error();
        const core::Context context(user->context());
        auto parked = core::Ioas::alloc(context, {.label = "parked"});
        if (!parked) return parked.error();
        auto device = MockDevice::make(context, parked->id(), flags);
        if (!device) return device.error();
        return std::make_shared<MockSpaceDevice>(std::move(*user), std::move(*parked), std::move(*device),
                                                 std::move(name), own_iommu);
    }
    MockSpaceDevice(User user, core::Ioas parked, MockDevice device, std::string name, bool own_iommu)
        : user_(std::move(user)),
          parked_(std::move(parked)),
          device_(std::move(device)),
          name_(std::move(name)),
          own_iommu_(own_iommu) {}

    const std::string& name() const noexcept override { return name_; }
    dma::IommuDevice* iommu_device() noexcept override { return this; }
    DeviceId id() const noexcept override { return device_.id(); }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override { return user_.context(); }

    Result<HwptId> attach(PageTableId table) override {
        // (Ids are given out in ascending order: what is older than the newest was made for another.)
        if (own_iommu_ && others_.value >= table.value) return Error(Operation::vfio_attach, EINVAL);
        if (const int result = device_.replace(table); result < 0)
            return Error(Operation::vfio_attach, -result);
        table_ = HwptId{table.value};
        return table_;
    }
    Result<void> detach() override {
        if (const int result = device_.replace(parked_.id()); result < 0)
            return Error(Operation::vfio_detach, -result);
        return {};
    }

    // Page tables up to this one are of another IOMMU than this device.
    void others_end_at(HwptId last) { others_ = last; }
    HwptId table() const { return table_; }
    int write(Iova iova) const { return set_dirty(core::Context(context()), table_, iova); }

private:
    User user_;
    core::Ioas parked_;
    MockDevice device_;
    const std::string name_;
    const bool own_iommu_;
    HwptId others_{0};
    HwptId table_;
};

}  // namespace iommufd::inline v0_1::kernel_tests
