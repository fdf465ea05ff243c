// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pci_endpoint.hpp"

#include <cstring>

#include "model/objects.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr uapi::HwInfoVtd kVtd{.flags = 0, .reserved = 0, .cap_reg = 0xd2008c222f0686, .ecap_reg = 0xf00f4a};

}  // namespace

int PciEndpoint::hw_info(std::uint32_t wanted_type, HwInfo& info) const {
    if (wanted_type != uapi::kHwInfoDefault && wanted_type != uapi::kHwInfoVtd) return -EOPNOTSUPP;
    info.type = uapi::kHwInfoVtd;
    info.data.resize(sizeof kVtd);
    std::memcpy(info.data.data(), &kVtd, sizeof kVtd);
    info.capabilities = uapi::kHwCapAtsNotSupported;
    return 0;
}

int PciEndpoint::alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) {
    if ((flags & ~uapi::kHwptPasid) != 0 || data != nullptr) return -EOPNOTSUPP;
    domain = std::make_shared<Domain>(Geometry{.last = iommu_.aperture_last});
    return 0;
}

int PciEndpoint::attach(Hwpt& hwpt) {
    if (hwpt.faults != nullptr) return -ENODEV;  // it has no page request interface
    port_.point_at(hwpt.paging().domain);
    return 0;
}

}  // namespace iommufd::inline v0_1::model
