// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Binding devices and attaching them to hwpts, the automatic ones included.
#include <algorithm>
#include <cerrno>

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {

int Context::bind(DmaPort& port, std::uint32_t& device_id) {
    const sys::Lock lock(mutex_);
    auto device = std::make_unique<BoundDevice>();
    device->port = &port;
    ++device->users;  // the driver, until it unbinds: so DESTROY is EBUSY
    device_id = objects_.add(std::move(device)).id;
    return 0;
}

void Context::unbind(std::uint32_t device_id) {
    const sys::Lock lock(mutex_);
    auto& device = *objects_.find<BoundDevice>(device_id);
    if (device.hwpt != nullptr) (void)quiet_ioas(device.hwpt->ioas->id);
    detach_hwpt(device);
    objects_.remove(device);
}

int Context::attach(std::uint32_t device_id, std::uint32_t& pt_id) {
    const sys::Lock lock(mutex_);
    auto& device = *objects_.find<BoundDevice>(device_id);
    // Domains come and go only while no map is in flight, in the old IOAS and in the new one.
    while (true) {
        const Ioas* const then = objects_.find<Ioas>(pt_id);
        if ((device.hwpt == nullptr || !device.hwpt->ioas->iopt.in_flight()) &&
            (then == nullptr || !then->iopt.in_flight()))
            break;
        quiet_.wait(mutex_);
    }
    Object* const target = objects_.find(pt_id);
    if (target == nullptr) return -ENOENT;
    Hwpt* hwpt = dynamic_cast<Hwpt*>(target);
    if (auto* const ioas = dynamic_cast<Ioas*>(target)) {
        // All devices are behind the same IOMMU, so any automatic domain will do.
        const auto usable = std::ranges::find_if(ioas->hwpts, [](const Hwpt* h) { return h->automatic; });
        if (usable != ioas->hwpts.end()) {
            hwpt = *usable;
        } else {
            BoundDevice* const attach_first = device.hwpt == nullptr ? &device : nullptr;
            if (const int rc = make_hwpt(*ioas, true, attach_first, hwpt); rc < 0) return rc;
        }
    } else if (hwpt == nullptr) {
        return -EINVAL;
    }
    if (const int rc = attach_hwpt(device, *hwpt); rc < 0) {
        if (hwpt->automatic && hwpt->users == 1) drop_hwpt(*hwpt);
        return rc;
    }
    pt_id = hwpt->id;
    return 0;
}

void Context::detach(std::uint32_t device_id) {
    const sys::Lock lock(mutex_);
    auto& device = *objects_.find<BoundDevice>(device_id);
    if (device.hwpt != nullptr) (void)quiet_ioas(device.hwpt->ioas->id);
    detach_hwpt(device);
}

int Context::reserve_for(BoundDevice& device, Ioas& ioas) {
    for (const IovaRange& range : hardware_.iommu.reserved) {
        if (const int rc = ioas.iopt.reserve_range(range, &device); rc < 0) {
            ioas.iopt.release_ranges(&device);
            return rc;
        }
    }
    return 0;
}

int Context::attach_hwpt(BoundDevice& device, Hwpt& hwpt) {
    Hwpt* const old = device.hwpt;
    if (old == &hwpt) return 0;
    if (old == nullptr || old->ioas != hwpt.ioas)
        if (const int rc = reserve_for(device, *hwpt.ioas); rc < 0) return rc;
    device.port->point_at(hwpt.domain);
    device.hwpt = &hwpt;
    ++hwpt.users;
    if (old == nullptr) return 0;
    if (old->ioas != hwpt.ioas) old->ioas->iopt.release_ranges(&device);
    --old->users;
    if (old->automatic && old->users == 1) drop_hwpt(*old);
    return 0;
}

void Context::detach_hwpt(BoundDevice& device) {
    Hwpt* const hwpt = device.hwpt;
    if (hwpt == nullptr) return;
    device.port->point_at(nullptr);
    device.hwpt = nullptr;
    hwpt->ioas->iopt.release_ranges(&device);
    --hwpt->users;
    if (hwpt->automatic && hwpt->users == 1) drop_hwpt(*hwpt);
}

int Context::make_hwpt(Ioas& ioas, bool automatic, BoundDevice* attach_first, Hwpt*& hwpt) {
    auto made = std::make_unique<Hwpt>();
    made->domain = std::make_shared<Domain>(hardware_.iommu.aperture_last);
    made->ioas = &ioas;
    made->automatic = automatic;
    ioas.hwpts.reserve(ioas.hwpts.size() + 1);
    hwpt = &objects_.add(std::move(made));
    // The device's own ranges come first, so that a conflict is found before anything is pinned.
    int rc = attach_first != nullptr ? attach_hwpt(*attach_first, *hwpt) : 0;
    if (rc == 0) {
        rc = ioas.iopt.add_domain(hwpt->domain);
        if (rc == 0) {
            ioas.hwpts.push_back(hwpt);
            ++ioas.users;
            return 0;
        }
        if (attach_first != nullptr) {
            attach_first->port->point_at(nullptr);
            attach_first->hwpt = nullptr;
            ioas.iopt.release_ranges(attach_first);
        }
    }
    objects_.remove(*hwpt);
    hwpt = nullptr;
    return rc;
}

void Context::drop_hwpt(Hwpt& hwpt) {
    Ioas& ioas = *hwpt.ioas;
    ioas.iopt.remove_domain(hwpt.domain.get());
    std::erase(ioas.hwpts, &hwpt);
    --ioas.users;
    objects_.remove(hwpt);
}

}  // namespace iommufd::inline v0_1::model
