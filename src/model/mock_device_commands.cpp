// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Mock devices: made, attached, and made to report.
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "model/fault_queue.hpp"
#include "model/mock_commands.hpp"
#include "model/mock_device.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

namespace mock = uapi::mock;

constexpr std::uint32_t kDeviceFlags = mock::kDeviceNoDirty | mock::kDevicePasid;

MockDevice* mock_of(const BoundDevice& device) { return dynamic_cast<MockDevice*>(device.endpoint); }

}  // namespace

int Context::Mock::add_device(Context& context, Command& command, const Call& call) {
    const sys::Lock lock(context.mutex_);
    const std::uint32_t flags =
        command.op == mock::kMockDomainFlags ? command.mock_domain_flags.dev_flags : 0;
    if ((flags & ~kDeviceFlags) != 0) return -EINVAL;
    auto made = std::make_unique<MockObject>();
    made->mock = std::make_unique<MockDevice>(flags);
    MockObject& object = context.objects_.add(std::move(made));
    object.hidden = true;
    std::uint32_t pt_id = command.id;
    int rc = 0;
    try {
        object.device = &context.bind_locked(*object.mock);
        rc = context.change_page_table(*object.device, kNoPasid, pt_id, Change::attach);
    } catch (const std::bad_alloc&) {
        rc = -ENOMEM;
    }
    object.hidden = false;
    if (rc == 0) {
        command.mock_domain = {
            .out_stdev_id = object.id, .out_hwpt_id = pt_id, .out_idev_id = object.device->id};
        rc = call.reply(command);
    }
    if (rc < 0) {
        if (object.device != nullptr) context.unbind_locked(*object.device);
        context.objects_.remove(object);
    }
    return rc;
}

int Context::Mock::replace(Context& context, Command& command, const Call& call) {
    const sys::Lock lock(context.mutex_);
    auto* const object = context.objects_.find<MockObject>(command.id);
    if (object == nullptr) return -ENOENT;
    const InUse in_use(*object, context.quiet_);
    const int rc = context.change_page_table(*object->device, kNoPasid, command.mock_domain_replace.pt_id,
                                             Change::replace);
    return rc < 0 ? rc : call.reply(command);
}

int Context::Mock::pasid_attach(Context& context, Command& command, const Call& call) {
    const sys::Lock lock(context.mutex_);
    auto* const object = context.objects_.find<MockObject>(command.id);
    if (object == nullptr) return -ENOENT;
    const InUse in_use(*object, context.quiet_);
    const std::uint32_t pasid = command.pasid_attach.pasid;
    int rc = context.change_page_table(*object->device, pasid, command.pasid_attach.pt_id, Change::attach);
    if (rc < 0) return rc;
    rc = call.reply(command);
    if (rc < 0) context.detach_device(*object->device, pasid);
    return rc;
}

int Context::Mock::pasid_replace(Context& context, Command& command, const Call& call) {
    const sys::Lock lock(context.mutex_);
    auto* const object = context.objects_.find<MockObject>(command.id);
    if (object == nullptr) return -ENOENT;
    const InUse in_use(*object, context.quiet_);
    const int rc = context.change_page_table(*object->device, command.pasid_replace.pasid,
                                             command.pasid_replace.pt_id, Change::replace);
    return rc < 0 ? rc : call.reply(command);
}

int Context::Mock::pasid_detach(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    auto* const object = context.objects_.find<MockObject>(command.id);
    if (object == nullptr) return -ENOENT;
    const InUse in_use(*object, context.quiet_);
    context.detach_device(*object->device, command.pasid_detach.pasid);
    return 0;
}

int Context::Mock::pasid_check(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    const auto* const object = context.objects_.find<MockObject>(command.id);
    if (object == nullptr) return -ENOENT;
    const Hwpt* const attached = object->device->attached_at(command.pasid_check.pasid);
    if (command.pasid_check.hwpt_id == 0) return attached == nullptr ? 0 : -EINVAL;
    const Object* const expected = context.objects_.find(command.pasid_check.hwpt_id);
    if (expected == nullptr) return -ENOENT;
    const auto* const hwpt = dynamic_cast<const Hwpt*>(expected);
    return hwpt != nullptr && hwpt == attached ? 0 : -EINVAL;
}

int Context::Mock::check_cache(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    const auto* const device = context.objects_.find<BoundDevice>(command.id);
    if (device == nullptr) return -ENOENT;
    const MockDevice* const mock = mock_of(*device);
    const auto [id, expected] = command.check_dev_cache;
    return mock != nullptr && id <= mock::kDevCacheIdMax && mock->cache[id] == expected ? 0 : -EINVAL;
}

// To the queue of the page table at that PASID. A guest that has PASID tables of its own gets it through
// what the device itself is attached to. Without a queue nobody hears of it.
int Context::Mock::trigger_fault(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    const auto* const device = context.objects_.find<BoundDevice>(command.trigger_iopf.dev_id);
    if (device == nullptr) return -ENOENT;
    if (mock_of(*device) == nullptr) return -EINVAL;
    std::uint32_t at = command.trigger_iopf.pasid;
    const Hwpt* hwpt = device->attached_at(at);
    if (hwpt == nullptr && at != kNoPasid) {
        at = kNoPasid;
        hwpt = dynamic_cast<const NestedHwpt*>(device->attached_at(kNoPasid));
    }
    if (hwpt == nullptr || hwpt->faults == nullptr) return 0;
    uapi::HwptPgfault fault{};
    fault.flags = uapi::kFaultLastPage;
    if (command.trigger_iopf.pasid != kNoPasid) fault.flags |= uapi::kFaultPasidValid;
    fault.dev_id = device->id;
    fault.pasid = command.trigger_iopf.pasid;
    fault.grpid = command.trigger_iopf.grpid;
    fault.perm = command.trigger_iopf.perm;
    fault.addr = command.trigger_iopf.addr;
    hwpt->faults->deliver({.device = device, .pasid = at}, fault);
    return 0;
}

int Context::Mock::trigger_event(Context& context, const Command& command) {
    const sys::Lock lock(context.mutex_);
    const auto* const device = context.objects_.find<BoundDevice>(command.trigger_vevent.dev_id);
    if (device == nullptr) return -ENOENT;
    const MockDevice* const mock = mock_of(*device);
    if (mock == nullptr || mock->viommu() == nullptr || mock->number() == 0) return -ENOENT;
    VeventQueue* const queue = mock->viommu()->events_of(mock::kVeventqSelftest);
    if (queue == nullptr) return -EOPNOTSUPP;
    const mock::ViommuEventSelftest event{.virt_id = static_cast<std::uint32_t>(mock->number())};
    queue->report(std::as_bytes(std::span(&event, 1)));
    return 0;
}

}  // namespace iommufd::inline v0_1::model
