// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pci_endpoint.hpp"

#include <cstring>

#include "model/objects.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr uapi::HwInfoVtd kVtd{.flags = 0, .reserved = 0, .cap_reg = 0xd2008c222f0686, .ecap_reg = 0xf00f4a};

constexpr std::uint64_t kScalableMode = std::uint64_t{1} << 43;      // of ecap_reg
constexpr std::uint64_t kSecondStageDirty = std::uint64_t{1} << 45;  // of ecap_reg

}  // namespace

int PciEndpoint::hw_info(std::uint32_t wanted_type, HwInfo& info) const {
    info.capabilities = asks_for_pages_ ? 0 : uapi::kHwCapAtsNotSupported;
    if (iommu_.kind == IommuKind::virtio) return wanted_type == uapi::kHwInfoDefault ? 0 : -EOPNOTSUPP;
    if (wanted_type != uapi::kHwInfoDefault && wanted_type != uapi::kHwInfoVtd) return -EOPNOTSUPP;
    uapi::HwInfoVtd vtd = kVtd;
    if (iommu_.tracks_dirty) {
        vtd.ecap_reg |= kScalableMode | kSecondStageDirty;
        info.capabilities |= uapi::kHwCapDirtyTracking;
    }
    info.type = uapi::kHwInfoVtd;
    info.data.resize(sizeof vtd);
    std::memcpy(info.data.data(), &vtd, sizeof vtd);
    return 0;
}

int PciEndpoint::alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) {
    const bool dirty = (flags & uapi::kHwptDirtyTracking) != 0;
    if (data != nullptr || (dirty && !iommu_.tracks_dirty)) return -EOPNOTSUPP;
    // virtio-iommu's driver takes no flags at all.
    const std::uint32_t known = iommu_.kind == IommuKind::intel
                                    ? uapi::kHwptPasid | uapi::kHwptDirtyTracking | uapi::kHwptFaultIdValid
                                    : 0;
    if ((flags & ~known) != 0) return -EOPNOTSUPP;
    domain = std::make_shared<Domain>(Geometry{.last = iommu_.aperture_last, .page_sizes = iommu_.page_sizes},
                                      dirty);
    return 0;
}

int PciEndpoint::attach(const BoundDevice& device, Hwpt& hwpt) {
    if (hwpt.faults != nullptr && !asks_for_pages_) return -ENODEV;
    port_.point_at(hwpt.paging().domain,
                   {.queue = hwpt.faults, .attachment = {.device = &device, .pasid = kNoPasid}});
    return 0;
}

}  // namespace iommufd::inline v0_1::model
