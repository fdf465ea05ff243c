// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A queue of a vDPA device: where its ring lies, and the eventfds that announce work.
//
//     driver --kick eventfd--> device          "there are new requests"
//     driver <--call eventfd-- device          "there are new answers"
//
// Order: set_size, set_addresses, set_base, set_kick, set_call, enable; then the device's DRIVER_OK. A reset
// of the device undoes all of it but the eventfds.
//
// Threads: any calls may run at once. A Vring keeps its device open.
//
// Linux: 5.7.
#pragma once

#include <cstdint>
#include <memory>

#include "iommufd/core/types.hpp"
#include "iommufd/error/result.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::vdpa {

class DeviceNode;

// The three parts of a split ring; of a packed one the ring and its two event areas.
struct RingAddresses {
    Iova descriptors;
    Iova available;  // written by the driver
    Iova used;       // written by the device
};

class IOMMUFD_EXPORT Vring {
public:
    Vring(std::shared_ptr<DeviceNode> device, std::uint32_t index) noexcept;
    Vring(const Vring&) noexcept;
    Vring(Vring&&) noexcept;
    Vring& operator=(const Vring&) noexcept;
    Vring& operator=(Vring&&) noexcept;
    ~Vring();

    std::uint32_t index() const noexcept { return index_; }

    // All calls: ENOBUFS no such queue.

    // Entries: a power of two up to Device::max_queue_size() (EINVAL).
    Result<void> set_size(std::uint16_t entries) const;
    // The most entries that this very queue takes. EOPNOTSUPP, ENOTTY before Linux 6.10.
    Result<std::uint16_t> max_size() const;
    // EINVAL misaligned, or the device runs.
    Result<void> set_addresses(const RingAddresses& addresses) const;
    // Where the device is to go on, or stands: of a split ring the index of the next request it takes.
    Result<void> set_base(std::uint32_t base) const;
    Result<std::uint32_t> base() const;
    // Eventfds, borrowed: the kernel keeps a reference of its own. -1: none. EBADF, EINVAL not an eventfd.
    Result<void> set_kick(int eventfd) const;
    Result<void> set_call(int eventfd) const;
    Result<void> set_error(int eventfd) const;
    Result<void> enable() const;
    Result<void> disable() const;

    // The group that the queue belongs to. EOPNOTSUPP; Linux 5.19.
    Result<std::uint32_t> group() const;
    // The group of its ring, where that may differ. EOPNOTSUPP; Linux 6.7.
    Result<std::uint32_t> descriptor_group() const;

private:
    std::shared_ptr<DeviceNode> device_;
    std::uint32_t index_;
};

}  // namespace iommufd::inline v0_1::vdpa
