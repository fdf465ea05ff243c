// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel's mock device as a Space attaches it.
#pragma once

#include <set>

#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/attachable.hpp"
#include "kernel/mock.hpp"

namespace iommufd::inline v0_1::kernel_tests {

// The mock has no detached state: a detached one is attached to an IOAS in which nothing is mapped.
class MockAttachable final : public dma::Attachable, public dma::IommuDevice {
public:
    explicit MockAttachable(const Backend& backend, std::uint32_t flags = 0)
        : user_(backend.connect("mock").value()),
          nowhere_(core::Ioas::alloc(core::Context(user_.context())).value()),
          device_(MockDevice::make(core::Context(user_.context()), nowhere_.id(), flags).value()) {}

    const std::string& name() const noexcept override { return name_; }
    dma::IommuDevice* iommu_device() noexcept override { return this; }
    DeviceId id() const noexcept override { return device_.id(); }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override { return user_.context(); }

    Result<HwptId> attach(PageTableId table) override {
        return outcome(Operation::vfio_attach, device_.replace(table)).transform([&] {
            return attached = HwptId{table.value};
        });
    }
    Result<void> detach() override {
        attached = {};
        return outcome(Operation::vfio_detach, device_.replace(nowhere_.id()));
    }
    Result<HwptId> attach_pasid(PageTableId table, std::uint32_t pasid) override {
        const bool replaces = pasids.contains(pasid);
        const int result =
            replaces ? device_.replace_pasid(pasid, table) : device_.attach_pasid(pasid, table);
        return outcome(Operation::vfio_attach, result).transform([&] {
            pasids.insert(pasid);
            return HwptId{table.value};
        });
    }
    Result<void> detach_pasid(std::uint32_t pasid) override {
        pasids.erase(pasid);
        return outcome(Operation::vfio_detach, device_.detach_pasid(pasid));
    }

    const MockDevice& mock() const { return device_; }

    HwptId attached;  // what a space, or a guest, has attached
    std::set<std::uint32_t> pasids;

private:
    static Result<void> outcome(Operation operation, int result) {
        if (result < 0) return Error(operation, -result, "the mock refused");
        return {};
    }

    const std::string name_ = "mock";
    User user_;
    core::Ioas nowhere_;
    MockDevice device_;
};

}  // namespace iommufd::inline v0_1::kernel_tests
