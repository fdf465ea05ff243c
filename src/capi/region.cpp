// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <algorithm>

#include "capi/call.hpp"
#include "capi/handles.hpp"
#include "iommufd/capi/vfio.h"

namespace iommufd::inline v0_1::capi {
namespace {

template <class T>
int read(const iommufd_region* region, std::uint64_t offset, T* value) noexcept {
    return call([&]() -> Result<void> {
        if (!region || !value) return is_null("region and value");
        return region->region.read<T>(offset).transform([&](T read) { *value = read; });
    });
}

template <class T>
int write(const iommufd_region* region, std::uint64_t offset, T value) noexcept {
    return call([&]() -> Result<void> {
        if (!region) return is_null("the region");
        return region->region.write<T>(offset, value);
    });
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::call;
using capi::is_null;

void iommufd_region_free(iommufd_region* region) { delete region; }

uint64_t iommufd_region_size(const iommufd_region* region) { return region ? region->region.size() : 0; }

int iommufd_region_areas(const iommufd_region* region, iommufd_mapped_area* areas, size_t count) {
    return call([&]() -> Result<int> {
        if (!region || (!areas && count != 0)) return is_null("region and areas");
        const auto mapped = region->region.mapped();
        for (std::size_t i = 0; i < std::min(count, mapped.size()); ++i)
            areas[i] = {mapped[i].offset, mapped[i].size, mapped[i].address};
        return static_cast<int>(mapped.size());
    });
}

int iommufd_region_read8(const iommufd_region* region, uint64_t offset, uint8_t* value) {
    return capi::read(region, offset, value);
}
int iommufd_region_read16(const iommufd_region* region, uint64_t offset, uint16_t* value) {
    return capi::read(region, offset, value);
}
int iommufd_region_read32(const iommufd_region* region, uint64_t offset, uint32_t* value) {
    return capi::read(region, offset, value);
}
int iommufd_region_read64(const iommufd_region* region, uint64_t offset, uint64_t* value) {
    return capi::read(region, offset, value);
}
int iommufd_region_write8(const iommufd_region* region, uint64_t offset, uint8_t value) {
    return capi::write(region, offset, value);
}
int iommufd_region_write16(const iommufd_region* region, uint64_t offset, uint16_t value) {
    return capi::write(region, offset, value);
}
int iommufd_region_write32(const iommufd_region* region, uint64_t offset, uint32_t value) {
    return capi::write(region, offset, value);
}
int iommufd_region_write64(const iommufd_region* region, uint64_t offset, uint64_t value) {
    return capi::write(region, offset, value);
}

int iommufd_region_read(const iommufd_region* region, uint64_t offset, void* buffer, size_t length) {
    return call([&]() -> Result<void> {
        if (!region || (!buffer && length != 0)) return is_null("region and buffer");
        return region->region.read_bytes(offset, buffer, length);
    });
}

int iommufd_region_write(const iommufd_region* region, uint64_t offset, const void* buffer, size_t length) {
    return call([&]() -> Result<void> {
        if (!region || (!buffer && length != 0)) return is_null("region and buffer");
        return region->region.write_bytes(offset, buffer, length);
    });
}
