// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// IOASes themselves: what they allow, and their options.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <limits>
#include <set>

#include "model/caller.hpp"
#include "model/context.hpp"

namespace iommufd::inline v0_1::model {

int Context::ioas_alloc(uapi::IoasAlloc& command, const Call& call) {
    if (command.flags != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    Ioas& ioas = objects_.add(std::make_unique<Ioas>());
    command.out_ioas_id = ioas.id;
    const int rc = call.reply(command);
    if (rc < 0) objects_.remove(ioas);
    return rc;
}

int Context::ioas_iova_ranges(uapi::IoasIovaRanges& command, const Call& call) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    const Ioas* const ioas = objects_.find<Ioas>(command.ioas_id);
    if (ioas == nullptr) return -ENOENT;
    const std::vector<IovaRange> usable = ioas->iopt.usable();
    const std::uint32_t room = command.num_iovas;
    for (std::size_t i = 0; i < std::min<std::size_t>(room, usable.size()); ++i) {
        const uapi::IovaRange range{.start = usable[i].first, .last = usable[i].last};
        if (user::put(command.allowed_iovas + i * sizeof range, range) < 0) return -EFAULT;
    }
    command.num_iovas = static_cast<std::uint32_t>(usable.size());
    command.out_iova_alignment = ioas->iopt.alignment();
    if (const int rc = call.reply(command); rc < 0) return rc;
    return usable.size() > room ? -EMSGSIZE : 0;
}

int Context::ioas_allow_iovas(uapi::IoasAllowIovas& command, const Call&) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    Ioas* const ioas = objects_.find<Ioas>(command.ioas_id);
    if (ioas == nullptr) return -ENOENT;
    std::vector<IovaRange> allowed;
    for (std::uint64_t i = 0; i < command.num_iovas; ++i) {
        uapi::IovaRange range{};
        if (user::get(range, command.allowed_iovas + i * sizeof range) < 0) return -EFAULT;
        if (range.start >= range.last) return -EINVAL;
        const bool again = std::ranges::any_of(
            allowed, [&](const IovaRange& a) { return a.first <= range.last && a.last >= range.start; });
        if (again) return -EINVAL;
        allowed.push_back({.first = range.start, .last = range.last});
    }
    return ioas->iopt.set_allowed(std::move(allowed));
}

int Context::files_that_others_pay(const AddressSpace* payer, std::set<Pages*>& files) const {
    for (const auto& [id, object] : objects_) {
        const auto* const ioas = dynamic_cast<const Ioas*>(object.get());
        if (ioas == nullptr) continue;
        for (const auto& [last, area] : ioas->iopt.areas()) {
            if (!area.pages) return -EBUSY;
            if (!area.pages->is_file()) return -EINVAL;
            if (area.pages->account_mode() != AccountMode::none && area.pages->payer().get() != payer)
                files.insert(area.pages.get());
        }
    }
    return 0;
}

int Context::ioas_change_process(uapi::IoasChangeProcess& command, const Call&) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    std::shared_ptr<AddressSpace> payer;
    if (const int rc = caller().memory(payer); rc < 0) return rc;
    const sys::Lock lock(mutex_);
    std::set<Pages*> files;
    if (const int rc = files_that_others_pay(payer.get(), files); rc < 0) return rc;
    Accountant& accountant = hardware_.accountant;
    PinCount& pins = payer ? payer->pins() : accountant.own();
    // Linux charges the new one for all before the old ones are paid back.
    for (auto next = files.begin(); next != files.end(); ++next) {
        const int rc = accountant.charge(pins, (*next)->account_mode(), (*next)->pinned());
        if (rc == 0) continue;
        for (auto paid = files.begin(); paid != next; ++paid)
            accountant.uncharge(pins, (*paid)->account_mode(), (*paid)->pinned());
        return rc;
    }
    for (Pages* const pages : files) pages->let_pay(payer);
    return 0;
}

// No device here is without an IOMMU, so no area can be backed by one.
int Context::ioas_noiommu_get_pa(uapi::IoasNoiommuGetPa& command, const Call&) {
    if (!hardware_.sys_rawio) return -EPERM;
    if (command.flags != 0 || command.reserved != 0) return -EOPNOTSUPP;
    if (command.length == 0) return -EINVAL;
    if (command.iova == std::numeric_limits<std::uint64_t>::max()) return -EOVERFLOW;
    const sys::Lock lock(mutex_);
    const Ioas* const ioas = objects_.find<Ioas>(command.ioas_id);
    if (ioas == nullptr) return -ENOENT;
    const auto area = ioas->iopt.areas().lower_bound(command.iova);
    if (area == ioas->iopt.areas().end() || area->second.first > command.iova || !area->second.pages)
        return -ENOENT;
    return area->second.pages->revoked() ? -EINVAL : -EOPNOTSUPP;
}

int Context::option(uapi::Option& command, const Call& call) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    int rc = -EOPNOTSUPP;
    if (command.option_id == uapi::kOptionRlimitMode) rc = option_rlimit_mode(command);
    if (command.option_id == uapi::kOptionHugePages) rc = option_huge_pages(command);
    return rc < 0 ? rc : user::put(call.field(offsetof(uapi::Option, val64)), command.val64);
}

int Context::option_rlimit_mode(uapi::Option& command) {
    if (command.object_id != 0) return -EOPNOTSUPP;
    if (command.op == uapi::kOptionGet) {
        command.val64 = account_mode_ == AccountMode::mm ? 1 : 0;
        return 0;
    }
    if (command.op != uapi::kOptionSet) return -EOPNOTSUPP;
    if (!hardware_.sys_resource) return -EPERM;
    if (!objects_.empty()) return -EBUSY;
    if (command.val64 > 1) return -EINVAL;
    account_mode_ = command.val64 == 1 ? AccountMode::mm : AccountMode::user;
    return 0;
}

int Context::option_huge_pages(uapi::Option& command) {
    // Only setting it waits for maps in flight; looking at it doesn't.
    const bool sets = command.op == uapi::kOptionSet && command.val64 <= 1;
    Ioas* const ioas = sets ? quiet_ioas(command.object_id) : objects_.find<Ioas>(command.object_id);
    if (ioas == nullptr) return -ENOENT;
    if (command.op == uapi::kOptionGet) {
        command.val64 = ioas->iopt.large_pages() ? 1 : 0;
        return 0;
    }
    if (command.op != uapi::kOptionSet) return -EOPNOTSUPP;
    if (command.val64 > 1) return -EINVAL;
    if (command.val64 == 0) return ioas->iopt.disable_large_pages();
    ioas->iopt.enable_large_pages();
    return 0;
}

int Context::vfio_ioas(uapi::VfioIoas& command, const Call& call) {
    if (command.reserved != 0) return -EOPNOTSUPP;
    const sys::Lock lock(mutex_);
    switch (command.op) {
        case uapi::kVfioIoasGet:
            if (vfio_ioas_ == 0) return -ENODEV;
            command.ioas_id = vfio_ioas_;
            return call.reply(command);
        case uapi::kVfioIoasSet:
            if (objects_.find<Ioas>(command.ioas_id) == nullptr) return -ENOENT;
            vfio_ioas_ = command.ioas_id;
            return 0;
        case uapi::kVfioIoasClear:
            vfio_ioas_ = 0;
            return 0;
        default:
            return -EOPNOTSUPP;
    }
}

}  // namespace iommufd::inline v0_1::model
