// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Hardware page tables and what the IOMMU says of itself, with the checks in Linux's order.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <new>

#include "model/context.hpp"
#include "model/fault_queue.hpp"
#include "model/new_hwpt.hpp"
#include "model/vintage.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint32_t kNestedFlags = uapi::kHwptFaultIdValid | uapi::kHwptPasid;
constexpr std::uint32_t kPagingFlags = kNestedFlags | uapi::kHwptNestParent | uapi::kHwptDirtyTracking;

}  // namespace

int Context::hwpt_alloc(uapi::HwptAlloc& command, const Call& call) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    if ((command.data_type == uapi::kHwptDataNone) != (command.data_len == 0)) return -EINVAL;
    const sys::Lock lock(mutex_);
    auto* const device = objects_.find<BoundDevice>(command.dev_id);
    if (device == nullptr) return -ENOENT;
    NewHwpt wanted{.device = *device, .flags = command.flags};
    if (command.data_len != 0)
        wanted.data =
            UserData{.type = command.data_type, .address = command.data_uptr, .length = command.data_len};

    const InUse in_use(*device, quiet_);
    Hwpt* hwpt = nullptr;
    if (Ioas* const ioas = quiet_ioas(command.pt_id)) {
        PagingHwpt* paging = nullptr;
        if (const int rc = make_paging(wanted, *ioas, paging); rc < 0) return rc;
        hwpt = paging;
    } else {
        Object* const on = objects_.find(command.pt_id);
        if (dynamic_cast<PagingHwpt*>(on) == nullptr && dynamic_cast<Viommu*>(on) == nullptr) return -EINVAL;
        NestedHwpt* nested = nullptr;
        if (const int rc = make_nested(wanted, *on, nested); rc < 0) return rc;
        hwpt = nested;
    }
    int rc = 0;
    if ((command.flags & uapi::kHwptFaultIdValid) != 0) {
        hwpt->faults = objects_.find<FaultQueue>(command.fault_id);
        if (hwpt->faults == nullptr)
            rc = -ENOENT;
        else
            ++hwpt->faults->users;
    }
    command.out_hwpt_id = hwpt->id;
    if (rc == 0) rc = call.reply(command);
    if (rc < 0) drop(*hwpt);
    return rc;
}

int Context::make_paging(const NewHwpt& wanted, Ioas& ioas, PagingHwpt*& hwpt) {
    Endpoint& endpoint = *wanted.device.endpoint;
    if ((wanted.flags & ~(kPagingFlags & vintage::hwpt_flags_of(hardware_.kernel))) != 0) return -EOPNOTSUPP;
    if ((wanted.flags & uapi::kHwptDirtyTracking) != 0 && !endpoint.can_track_dirty()) return -EOPNOTSUPP;
    if ((wanted.flags & uapi::kHwptFaultIdValid) != 0 && (wanted.flags & uapi::kHwptNestParent) != 0)
        return -EOPNOTSUPP;
    auto made = std::make_unique<PagingHwpt>();
    made->iommu = endpoint.iommu();
    made->pasid_compatible = (wanted.flags & uapi::kHwptPasid) != 0;
    made->nest_parent = (wanted.flags & uapi::kHwptNestParent) != 0;
    made->ioas = &ioas;
    const UserData* const data = wanted.data ? &*wanted.data : nullptr;
    if (const int rc = endpoint.alloc_paging(wanted.flags, data, made->domain); rc < 0) return rc;
    ioas.hwpts.reserve(ioas.hwpts.size() + 1);
    hwpt = &objects_.add(std::move(made));
    // The device's own ranges come first, so that a conflict is found before anything is pinned.
    int rc = 0;
    try {
        if (wanted.attach_at_once) rc = attach_hwpt(wanted.device, wanted.pasid, *hwpt);
    } catch (const std::bad_alloc&) {
        rc = -ENOMEM;
    }
    if (rc == 0) {
        rc = ioas.iopt.add_domain(hwpt->domain);
        if (rc == 0) {
            ioas.hwpts.push_back(hwpt);
            ++ioas.users;
            return 0;
        }
        if (wanted.attach_at_once) (void)take_off(wanted.device, wanted.pasid);
    }
    objects_.remove(*hwpt);
    hwpt = nullptr;
    return rc;
}

int Context::make_nested(const NewHwpt& wanted, Object& on, NestedHwpt*& hwpt) {
    const void* const iommu = wanted.device.endpoint->iommu();
    auto* const viommu = dynamic_cast<Viommu*>(&on);
    if (viommu != nullptr && viommu->iommu != iommu) return -EINVAL;
    const std::uint32_t known = kNestedFlags & vintage::hwpt_flags_of(hardware_.kernel);
    if ((wanted.flags & ~known) != 0 || !wanted.data) return -EOPNOTSUPP;
    PagingHwpt& parent = viommu != nullptr ? *viommu->parent : dynamic_cast<PagingHwpt&>(on);
    if (viommu == nullptr && (parent.automatic || !parent.nest_parent || parent.iommu != iommu))
        return -EINVAL;
    auto made = std::make_unique<NestedHwpt>();
    made->iommu = iommu;
    made->pasid_compatible = (wanted.flags & uapi::kHwptPasid) != 0;
    made->parent = &parent;
    made->viommu = viommu;
    const std::uint32_t flags = wanted.flags & ~uapi::kHwptFaultIdValid;
    if (const int rc = wanted.device.endpoint->fill_nested(*made, flags, *wanted.data); rc < 0) return rc;
    hwpt = &objects_.add(std::move(made));
    ++on.users;
    return 0;
}

void Context::drop(Hwpt& hwpt) {
    if (auto* const paging = dynamic_cast<PagingHwpt*>(&hwpt)) {
        Ioas& ioas = *paging->ioas;
        ioas.iopt.remove_domain(paging->domain.get());
        std::erase(ioas.hwpts, paging);
        --ioas.users;
    } else {
        auto& nested = dynamic_cast<NestedHwpt&>(hwpt);
        --(nested.viommu != nullptr ? static_cast<Object*>(nested.viommu) : nested.parent)->users;
    }
    if (hwpt.faults != nullptr) --hwpt.faults->users;
    objects_.remove(hwpt);
}

int Context::get_hw_info(uapi::HwInfo& command, const Call& call) {
    const bool reserved = std::ranges::any_of(command.reserved, [](auto byte) { return byte != 0; });
    if ((command.flags & ~vintage::hw_info_flags_of(hardware_.kernel)) != 0 || reserved) return -EOPNOTSUPP;
    // Without the flag the field is only an output.
    if ((command.flags & uapi::kHwInfoInputType) == 0) command.data_type = uapi::kHwInfoDefault;
    const sys::Lock lock(mutex_);
    const auto* const device = objects_.find<BoundDevice>(command.dev_id);
    if (device == nullptr) return -ENOENT;
    HwInfo info;
    if (const int rc = device->endpoint->hw_info(command.data_type, info); rc < 0) return rc;
    const std::uint32_t room = command.data_len;
    const auto known = std::min<std::uint32_t>(room, static_cast<std::uint32_t>(info.data.size()));
    if (user::copy_to(command.data_uptr, info.data.data(), known) < 0) return -EFAULT;
    constexpr std::array<std::byte, 256> kZeroes{};
    for (std::uint32_t done = known; done < room;) {
        const std::uint32_t now = std::min<std::uint32_t>(room - done, kZeroes.size());
        if (user::copy_to(command.data_uptr + done, kZeroes.data(), now) < 0) return -EFAULT;
        done += now;
    }
    command.data_len = static_cast<std::uint32_t>(info.data.size());
    command.data_type = info.type;
    command.out_max_pasid_log2 = info.pasid_bits;
    command.out_capabilities = info.capabilities;
    return call.reply(command);
}

}  // namespace iommufd::inline v0_1::model
