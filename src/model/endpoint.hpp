// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A device as the driver of its IOMMU sees it (Linux: struct device and its iommu_ops). Calls come one at a
// time, under the lock of the context that the device is bound to.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include "iommufd/model/machine.hpp"
#include "model/domain.hpp"
#include "model/user.hpp"

namespace iommufd::inline v0_1::model {

struct BoundDevice;
struct Hwpt;
struct NestedHwpt;

inline constexpr std::uint32_t kNoPasid = 0;  // the device itself

// What a program gives to a driver: a struct of the driver's.
struct UserData {
    std::uint32_t type;
    user::Address address;
    std::uint32_t length;

    // -EINVAL for another type, a struct shorter than `least` or longer than what is known here.
    int copy_to(void* to, std::uint32_t wanted_type, std::size_t known, std::size_t least) const {
        if (type != wanted_type || length < least || length > known) return -EINVAL;
        return user::copy_struct_from(to, known, address, length);
    }
};

struct HwInfo {
    std::uint32_t type = 0;
    std::vector<std::byte> data = {};
    std::uint8_t pasid_bits = 0;
    std::uint64_t capabilities = 0;
};

class Endpoint {
public:
    Endpoint() = default;
    Endpoint(const Endpoint&) = delete;
    Endpoint& operator=(const Endpoint&) = delete;
    virtual ~Endpoint() = default;

    // The IOMMU that it is behind. Page tables of one work on all its devices.
    virtual const void* iommu() const = 0;
    virtual const std::vector<IovaRange>& reserved() const = 0;
    virtual bool can_track_dirty() const = 0;
    // 0 where it can't issue any: attaching one is without effect then.
    virtual std::uint32_t max_pasids() const = 0;
    virtual int hw_info(std::uint32_t wanted_type, HwInfo& info) const = 0;

    // `data` may be null.
    virtual int alloc_paging(std::uint32_t flags, const UserData* data, std::shared_ptr<Domain>& domain) = 0;
    virtual int fill_nested(NestedHwpt&, std::uint32_t /*flags*/, const UserData&) { return -EOPNOTSUPP; }
    virtual bool has_viommu(std::uint32_t /*type*/) const { return false; }

    // From now on it goes through that page table, bound as it is; on an error nothing has changed.
    virtual int attach(const BoundDevice& device, Hwpt& hwpt) = 0;
    virtual void block() = 0;
    virtual int attach_pasid(std::uint32_t /*pasid*/, Hwpt&) { return 0; }
    virtual void block_pasid(std::uint32_t /*pasid*/) {}
};

}  // namespace iommufd::inline v0_1::model
