// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/mock_device.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "model/viommu.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {
namespace {

namespace mock = uapi::mock;

// 512 entries of 2 KiB in each of three levels: every power of two from there to a quarter of what they span.
constexpr unsigned kGranuleBits = 11;
constexpr unsigned kSpanBits = kGranuleBits + 3 * 9;
constexpr std::uint64_t kAllSizes = (1ULL << (kSpanBits - 1)) - mock::kPageSize;

constexpr char kTheIommu = 0;  // its address is what counts

}  // namespace

MockDevice::MockDevice(std::uint32_t flags) : flags_(flags) { cache.fill(mock::kDevCacheDefault); }

const void* MockDevice::iommu() const { return &kTheIommu; }

const std::vector<IovaRange>& MockDevice::reserved() const {
    static const std::vector<IovaRange> kNone;
    return kNone;
}

std::uint32_t MockDevice::max_pasids() const {
    return (flags_ & mock::kDevicePasid) != 0 ? 1U << mock::kPasidWidth : 1;
}

int MockDevice::hw_info(std::uint32_t wanted_type, HwInfo& info) const {
    if (wanted_type != uapi::kHwInfoDefault && wanted_type != mock::kHwInfoSelftest) return -EOPNOTSUPP;
    constexpr mock::TestHwInfo kInfo{.flags = 0, .test_reg = mock::kHwInfoRegval};
    info.type = mock::kHwInfoSelftest;
    info.data.resize(sizeof kInfo);
    std::memcpy(info.data.data(), &kInfo, sizeof kInfo);
    if ((flags_ & mock::kDevicePasid) != 0) info.pasid_bits = mock::kPasidWidth;
    info.capabilities =
        uapi::kHwCapAtsNotSupported | (can_track_dirty() ? uapi::kHwCapDirtyTracking : std::uint64_t{0});
    return 0;
}

int MockDevice::alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) {
    const bool dirty = (flags & uapi::kHwptDirtyTracking) != 0;
    if (dirty && !can_track_dirty()) return -EOPNOTSUPP;
    mock::HwptSelftest config{};
    if (data != nullptr) {
        if (data->type != mock::kHwptDataSelftest) return -EOPNOTSUPP;
        constexpr std::size_t kLeast = offsetof(mock::HwptSelftest, pagetable_type);
        if (const int rc = data->copy_to(&config, mock::kHwptDataSelftest, sizeof config, kLeast); rc < 0)
            return rc;
    }
    if (config.pagetable_type > mock::kPageTableHuge) return -EOPNOTSUPP;
    Geometry geometry{.first = mock::kApertureStart,
                      .last = mock::kApertureLast,
                      .page_sizes = kAllSizes,
                      .granule_bits = kGranuleBits,
                      .any_memory_is_contiguous = false};
    if (config.pagetable_type == mock::kPageTableHuge) {
        geometry.first = 0;
        geometry.last = (1ULL << kSpanBits) - 1;
        geometry.page_sizes = mock::kHugePageSize | user::kPage;
    }
    domain = std::make_shared<Domain>(geometry, dirty);
    return 0;
}

int MockDevice::fill_nested(NestedHwpt& nested, std::uint32_t flags, const UserData& data) {
    if ((flags & ~uapi::kHwptPasid) != 0 || data.type != mock::kHwptDataSelftest) return -EOPNOTSUPP;
    mock::HwptSelftest config{};
    constexpr std::size_t kLeast = offsetof(mock::HwptSelftest, pagetable_type);
    if (const int rc = data.copy_to(&config, mock::kHwptDataSelftest, sizeof config, kLeast); rc < 0)
        return rc;
    nested.iotlb.fill(config.iotlb);
    return 0;
}

int MockDevice::attach(const BoundDevice&, Hwpt& hwpt) {
    const auto* const paging = dynamic_cast<const PagingHwpt*>(&hwpt);
    if (paging != nullptr && paging->domain->tracks_dirty() && !can_track_dirty()) return -EINVAL;
    Viommu* through = nullptr;
    std::uint64_t number = 0;
    if (const auto* const nested = dynamic_cast<const NestedHwpt*>(&hwpt)) through = nested->viommu;
    if (through != nullptr) {
        const auto own = std::ranges::find_if(
            through->vdevices, [&](const auto& entry) { return entry.second->device->endpoint == this; });
        if (own == through->vdevices.end()) return -ENOENT;
        number = own->first;
    }
    // A number that was given later is only seen by coming from somewhere else.
    if (through != viommu_) {
        viommu_ = through;
        number_ = number;
    }
    return 0;
}

int MockDevice::attach_pasid(std::uint32_t pasid, Hwpt&) {
    if (pasid != mock::kPasidReserved) return 0;
    next_attach_fails_ = !next_attach_fails_;
    return next_attach_fails_ ? 0 : -ENOMEM;
}

void MockDevice::block_pasid(std::uint32_t pasid) {
    if (pasid == mock::kPasidReserved) next_attach_fails_ = false;
}

}  // namespace iommufd::inline v0_1::model
