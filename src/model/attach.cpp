// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Binding devices and attaching them to hwpts, the automatic ones included.
#include <algorithm>
#include <cerrno>

#include "model/context.hpp"
#include "model/fault_queue.hpp"
#include "model/new_hwpt.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

// May the hwpt be used at that PASID, beside what is attached already?
bool fits_pasid(const Hwpt& hwpt, const BoundDevice& device, std::uint32_t pasid) {
    if (pasid == kNoPasid) {
        const auto other = device.attached.upper_bound(kNoPasid);
        return hwpt.pasid_compatible || other == device.attached.end();
    }
    const Hwpt* const own = device.attached_at(kNoPasid);
    return hwpt.pasid_compatible && (own == nullptr || own->pasid_compatible);
}

int point_at(BoundDevice& device, std::uint32_t pasid, Hwpt& hwpt) {
    if (!fits_pasid(hwpt, device, pasid) || hwpt.iommu != device.endpoint->iommu()) return -EINVAL;
    if (pasid == kNoPasid) return device.endpoint->attach(device, hwpt);
    const std::uint32_t pasids = device.endpoint->max_pasids();
    if (pasids == 0) return 0;  // nothing to do for a device that has none
    if (pasid >= pasids) return -EINVAL;
    return device.endpoint->attach_pasid(pasid, hwpt);
}

void discard_faults(const Hwpt& hwpt, const BoundDevice& device, std::uint32_t pasid) {
    if (hwpt.faults != nullptr) hwpt.faults->discard({.device = &device, .pasid = pasid});
}

}  // namespace

BoundDevice& Context::bind_locked(Endpoint& endpoint) {
    auto device = std::make_unique<BoundDevice>();
    device->endpoint = &endpoint;
    ++device->users;  // the driver, until it unbinds: so DESTROY is EBUSY
    return objects_.add(std::move(device));
}

void Context::unbind_locked(BoundDevice& device) {
    device.hidden = true;
    while (device.in_use != 0) quiet_.wait(mutex_);
    while (!device.attached.empty()) detach_device(device, device.attached.begin()->first);
    if (Vdevice* const vdevice = device.vdevice; vdevice != nullptr) {
        unlink(*vdevice);
        objects_.bury(*vdevice);
    }
    objects_.remove(device);
}

int Context::bind(Endpoint& endpoint, std::uint32_t& device_id) {
    const sys::Lock lock(mutex_);
    device_id = bind_locked(endpoint).id;
    return 0;
}

void Context::unbind(std::uint32_t device_id) {
    const sys::Lock lock(mutex_);
    unbind_locked(*objects_.find<BoundDevice>(device_id));
}

int Context::attach(std::uint32_t device_id, std::uint32_t pasid, std::uint32_t& pt_id) {
    const sys::Lock lock(mutex_);
    auto& device = *objects_.find<BoundDevice>(device_id);
    const Change change = device.attached_at(pasid) == nullptr ? Change::attach : Change::replace;
    return change_page_table(device, pasid, pt_id, change);
}

void Context::detach(std::uint32_t device_id, std::uint32_t pasid) {
    const sys::Lock lock(mutex_);
    detach_device(*objects_.find<BoundDevice>(device_id), pasid);
}

int Context::change_page_table(BoundDevice& device, std::uint32_t pasid, std::uint32_t& pt_id,
                               Change change) {
    Object* const target = objects_.find(pt_id);
    if (target == nullptr) return -ENOENT;
    {
        // Domains come and go only while no map is in flight, in the old IOAS and in the new one.
        const InUse target_in_use(*target, quiet_);
        const InUse device_in_use(device, quiet_);
        const auto* const ioas = dynamic_cast<const Ioas*>(target);
        while (true) {
            Hwpt* const now = device.attached_at(pasid);
            if ((now == nullptr || !now->paging().ioas->iopt.in_flight()) &&
                (ioas == nullptr || !ioas->iopt.in_flight()))
                break;
            quiet_.wait(mutex_);
        }
    }
    Hwpt* const old = device.attached_at(pasid);
    auto* hwpt = dynamic_cast<Hwpt*>(target);
    int rc = -EINVAL;
    if (auto* const ioas = dynamic_cast<Ioas*>(target))
        rc = change_to_ioas(device, pasid, *ioas, hwpt, change);
    else if (hwpt != nullptr)
        rc =
            change == Change::attach ? attach_hwpt(device, pasid, *hwpt) : replace_hwpt(device, pasid, *hwpt);
    if (rc < 0) return rc;
    pt_id = hwpt->id;
    if (change == Change::attach)
        ++device.users;
    else if (old != hwpt)
        put_hwpt(*old);
    return 0;
}

// Any automatic domain will do that takes the device; a manual one is never picked.
int Context::change_to_ioas(BoundDevice& device, std::uint32_t pasid, Ioas& ioas, Hwpt*& used,
                            Change change) {
    const auto go_to = [&](Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_) {
        used = &hwpt;
        return change == Change::attach ? attach_hwpt(device, pasid, hwpt)
                                        : replace_hwpt(device, pasid, hwpt);
    };
    for (PagingHwpt* const candidate : ioas.hwpts) {
        if (!candidate->automatic || candidate->hidden) continue;
        const int rc = go_to(*candidate);
        if (rc != -EINVAL) return rc;
    }
    PagingHwpt* made = nullptr;
    const bool at_once = change == Change::attach;
    if (const int rc = make_paging({.device = device, .pasid = pasid, .attach_at_once = at_once}, ioas, made);
        rc < 0)
        return rc;
    if (!at_once) {
        if (const int rc = go_to(*made); rc < 0) {
            drop(*made);
            return rc;
        }
    }
    made->automatic = true;
    used = made;
    return 0;
}

int Context::reserve_for(BoundDevice& device, Ioas& ioas) {
    for (const IovaRange& range : device.endpoint->reserved()) {
        if (const int rc = ioas.iopt.reserve_range(range, &device); rc < 0) {
            ioas.iopt.release_ranges(&device);
            return rc;
        }
    }
    return 0;
}

int Context::attach_hwpt(BoundDevice& device, std::uint32_t pasid, Hwpt& hwpt) {
    if (device.attached_at(pasid) != nullptr) return -EBUSY;
    std::map<std::uint32_t, Hwpt*> entry{{pasid, &hwpt}};  // so that nothing can fail once it is attached
    Ioas& ioas = *hwpt.paging().ioas;
    if (pasid == kNoPasid)
        if (const int rc = reserve_for(device, ioas); rc < 0) return rc;
    if (const int rc = point_at(device, pasid, hwpt); rc < 0) {
        if (pasid == kNoPasid) ioas.iopt.release_ranges(&device);
        return rc;
    }
    device.attached.merge(entry);
    ++hwpt.users;
    return 0;
}

int Context::replace_hwpt(BoundDevice& device, std::uint32_t pasid, Hwpt& hwpt) {
    Hwpt* const old = device.attached_at(pasid);
    if (old == nullptr) return -EINVAL;
    if (old == &hwpt) return 0;
    Ioas& ioas = *hwpt.paging().ioas;
    Ioas& old_ioas = *old->paging().ioas;
    int rc = 0;
    if (pasid == kNoPasid && &ioas != &old_ioas) rc = reserve_for(device, ioas);
    if (rc == 0) rc = point_at(device, pasid, hwpt);
    if (rc < 0) {
        // Linux takes away the device's ranges in the new one's IOAS, even where it was attached there.
        if (pasid == kNoPasid) ioas.iopt.release_ranges(&device);
        return rc;
    }
    discard_faults(*old, device, pasid);
    if (pasid == kNoPasid && &ioas != &old_ioas) old_ioas.iopt.release_ranges(&device);
    device.attached[pasid] = &hwpt;
    ++hwpt.users;
    return 0;
}

Hwpt* Context::take_off(BoundDevice& device, std::uint32_t pasid) {
    Hwpt* const hwpt = device.attached_at(pasid);
    if (hwpt == nullptr) return nullptr;
    if (pasid == kNoPasid)
        device.endpoint->block();
    else if (device.endpoint->max_pasids() > 0)
        device.endpoint->block_pasid(pasid);
    discard_faults(*hwpt, device, pasid);
    device.attached.erase(pasid);
    if (pasid == kNoPasid) hwpt->paging().ioas->iopt.release_ranges(&device);
    return hwpt;
}

void Context::detach_device(BoundDevice& device, std::uint32_t pasid) {
    while (Hwpt* const hwpt = device.attached_at(pasid)) {
        if (!hwpt->paging().ioas->iopt.in_flight()) break;
        const InUse in_use(device, quiet_);
        quiet_.wait(mutex_);
    }
    Hwpt* const hwpt = take_off(device, pasid);
    if (hwpt == nullptr) return;
    put_hwpt(*hwpt);
    --device.users;
}

void Context::put_hwpt(Hwpt& hwpt) {
    --hwpt.users;
    const auto* const paging = dynamic_cast<const PagingHwpt*>(&hwpt);
    if (paging != nullptr && paging->automatic && hwpt.users == 1) drop(hwpt);
}

}  // namespace iommufd::inline v0_1::model
