// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device of the kernel's own mock IOMMU (Linux: selftest.c): it can do everything, and does nothing by itself.
#pragma once

#include <array>

#include "model/endpoint.hpp"
#include "model/objects.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::model {

class MockDevice final : public Endpoint {
public:
    explicit MockDevice(std::uint32_t flags);

    const void* iommu() const override;
    const std::vector<IovaRange>& reserved() const override;
    bool can_track_dirty() const override { return (flags_ & uapi::mock::kDeviceNoDirty) == 0; }
    std::uint32_t max_pasids() const override;
    int hw_info(std::uint32_t wanted_type, HwInfo& info) const override;
    int alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) override;
    int fill_nested(NestedHwpt& nested, std::uint32_t flags, const UserData& data) override;
    bool has_viommu(std::uint32_t type) const override { return type == uapi::mock::kViommuSelftest; }
    int attach(const BoundDevice& device, Hwpt& hwpt) override;
    void block() override { viommu_ = nullptr; }
    int attach_pasid(std::uint32_t pasid, Hwpt& hwpt) override;
    void block_pasid(std::uint32_t pasid) override;

    // Through which viommu it is attached, and its number there when that began.
    Viommu* viommu() const noexcept { return viommu_; }
    std::uint64_t number() const noexcept { return number_; }

    std::array<std::uint32_t, uapi::mock::kDevCacheNum> cache;

private:
    const std::uint32_t flags_;
    Viommu* viommu_ = nullptr;
    std::uint64_t number_ = 0;
    bool next_attach_fails_ = false;  // of one PASID, so that roll-back can be tested
};

// What DESTROY takes apart: the device, unbound.
struct MockObject final : Object {
    std::unique_ptr<MockDevice> mock;
    BoundDevice* device = nullptr;
};

}  // namespace iommufd::inline v0_1::model
