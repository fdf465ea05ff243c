// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pci_endpoint.hpp"

#include <algorithm>

#include "model/objects.hpp"
#include "model/vintage.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kLastOfFirstStage = (1ULL << 47) - 1;  // the lower half of four levels

// Of a page table that a program asks for.
std::uint32_t flags_of(IommuKind kind) {
    constexpr std::uint32_t kDirty = uapi::kHwptDirtyTracking | uapi::kHwptFaultIdValid;
    switch (kind) {
        case IommuKind::intel:
            return kDirty | uapi::kHwptPasid | uapi::kHwptNestParent;
        case IommuKind::smmuv3:
            return kDirty | uapi::kHwptPasid;
        case IommuKind::amd:
            return kDirty;
        case IommuKind::virtio:
            return 0;
    }
    return 0;
}

// Page tables of the program itself, in the order in which Linux's driver tries them.
bool is_first_stage(const Iommu& iommu, std::uint32_t flags) {
    return iommu.nests && iommu.kernel >= vintage::kFirstStageForAll && (flags & ~uapi::kHwptPasid) == 0;
}

// What Linux finds wrong when it attaches, and not before.
int check(const uapi::HwptVtdS1& table, const VtdRegisters& vtd) {
    constexpr std::uint32_t kFourLevels = 48;
    constexpr std::uint32_t kFiveLevels = 57;
    const bool has_five = (vtd.cap & VtdRegisters::kFiveLevels) != 0;
    if (table.addr_width != kFourLevels && !(table.addr_width == kFiveLevels && has_five)) return -EINVAL;
    const auto lacks = [&](std::uint64_t flag, std::uint64_t capability) {
        return (table.flags & flag) != 0 && (vtd.ecap & capability) == 0;
    };
    return lacks(uapi::kVtdS1Sre, VtdRegisters::kSupervisor) ||
                   lacks(uapi::kVtdS1Eafe, VtdRegisters::kExtendedAccess)
               ? -EINVAL
               : 0;
}

}  // namespace

int PciEndpoint::hw_info(std::uint32_t wanted_type, HwInfo& info) const {
    info.capabilities = asks_for_pages_ ? 0 : uapi::kHwCapAtsNotSupported;
    if (iommu_.tracks_dirty) info.capabilities |= uapi::kHwCapDirtyTracking;
    // A driver that tells nothing is asked nothing.
    if (iommu_.info.type == uapi::kHwInfoNone) return 0;
    if (wanted_type != uapi::kHwInfoDefault && wanted_type != iommu_.info.type) return -EOPNOTSUPP;
    info.type = iommu_.info.type;
    info.data = iommu_.info.data;
    return 0;
}

// AMD's driver finds out later that there is no parent for it.
bool PciEndpoint::has_viommu(std::uint32_t /*type*/) const {
    return iommu_.kind == IommuKind::amd && iommu_.kernel >= vintage::kAmdInfo;
}

int PciEndpoint::alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) {
    const bool dirty = (flags & uapi::kHwptDirtyTracking) != 0;
    const bool nest_parent = (flags & uapi::kHwptNestParent) != 0;
    if (data != nullptr || (dirty && !iommu_.tracks_dirty) || (nest_parent && !iommu_.nests))
        return -EOPNOTSUPP;
    if ((flags & ~flags_of(iommu_.kind)) != 0) return -EOPNOTSUPP;
    Geometry geometry{.last = iommu_.aperture_last, .page_sizes = iommu_.page_sizes};
    switch (iommu_.kind) {
        case IommuKind::intel:
            if (is_first_stage(iommu_, flags & ~uapi::kHwptFaultIdValid)) {
                geometry.last = std::min(geometry.last, kLastOfFirstStage);
                geometry.implied_permissions = kReadable;
                geometry.maps_what_permits_nothing = true;
            }
            geometry.refuses_read_only = nest_parent;
            break;
        case IommuKind::smmuv3:
            geometry.implied_permissions = kReadable;
            break;
        case IommuKind::amd:
            geometry.maps_what_permits_nothing = true;
            break;
        case IommuKind::virtio:
            break;
    }
    domain = std::make_shared<Domain>(geometry, dirty);
    return 0;
}

int PciEndpoint::fill_nested(NestedHwpt& nested, std::uint32_t flags, const UserData& data) {
    if (!iommu_.nests || (flags & ~uapi::kHwptPasid) != 0 || data.type != uapi::kHwptDataVtdS1)
        return -EOPNOTSUPP;
    uapi::HwptVtdS1 table{};
    if (const int rc = data.copy_to(&table, uapi::kHwptDataVtdS1, sizeof table, sizeof table); rc < 0)
        return rc;
    nested.first_stage = std::make_shared<FirstStage>(nested.parent->domain, table);
    return 0;
}

int PciEndpoint::attach(const BoundDevice& device, Hwpt& hwpt) {
    if (hwpt.faults != nullptr && !asks_for_pages_ && iommu_.kind == IommuKind::intel) return -ENODEV;
    const PageRequestRoute requests{.queue = hwpt.faults,
                                    .attachment = {.device = &device, .pasid = kNoPasid}};
    if (const auto* const nested = dynamic_cast<const NestedHwpt*>(&hwpt)) {
        if (const int rc = check(nested->first_stage->config(), iommu_.vtd); rc < 0) return rc;
        port_.point_at(nested->first_stage, requests);
    } else {
        port_.point_at(hwpt.paging().domain, requests);
    }
    return 0;
}

}  // namespace iommufd::inline v0_1::model
