// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A PCI device behind QEMU's intel-iommu in legacy mode, its virtio-iommu, an SMMUv3 or an AMD IOMMU: no PASIDs, nothing nested. Dirty
// tracking and nested tables of an intel one, if described, are those of a VT-d in scalable mode.
#pragma once

#include "model/dma_port.hpp"
#include "model/endpoint.hpp"
#include "model/hardware.hpp"

namespace iommufd::inline v0_1::model {

class PciEndpoint final : public Endpoint {
public:
    // `asks_for_pages`: by PRI.
    PciEndpoint(const Iommu& iommu, DmaPort& port, bool asks_for_pages)
        : iommu_(iommu), port_(port), asks_for_pages_(asks_for_pages) {}

    const void* iommu() const override { return &iommu_; }
    const std::vector<IovaRange>& reserved() const override { return iommu_.reserved; }
    bool can_track_dirty() const override { return iommu_.tracks_dirty; }
    std::uint32_t max_pasids() const override { return 0; }
    int hw_info(std::uint32_t wanted_type, HwInfo& info) const override;
    bool has_viommu(std::uint32_t type) const override;
    int alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) override;
    int fill_nested(NestedHwpt& nested, std::uint32_t flags, const UserData& data) override;
    int attach(const BoundDevice& device, Hwpt& hwpt) override;
    void block() override { port_.point_at(std::shared_ptr<Domain>()); }

private:
    const Iommu& iommu_;
    DmaPort& port_;
    const bool asks_for_pages_;
};

}  // namespace iommufd::inline v0_1::model
