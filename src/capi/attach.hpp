// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Attaching for both kinds of devices: the handle keeps the attachment.
//
// Threads: one at a time for one device.
#pragma once

#include <utility>

#include "capi/call.hpp"
#include "capi/handles.hpp"

namespace iommufd::inline v0_1::capi {

template <class Handle>
Result<void> detach_if_attached(Handle& device) {
    if (!device.attachment) return {};
    auto detached = std::move(*device.attachment).detach();
    device.attachment.reset();
    return detached;
}

template <class Handle>
int attach(Handle* device, const iommufd_space* space) noexcept {
    return call([&]() -> Result<void> {
        if (!device || !space) return is_null("device and space");
        if (device->attachment)
            return refused(EBUSY, "cannot attach " + device->device.name(), "it is in a space already",
                           "detach it first");
        auto attached = space->space.attach(device->device);
        if (!attached) return attached.error();
        device->attachment.emplace(*std::move(attached));
        return {};
    });
}

template <class Handle>
int detach(Handle* device) noexcept {
    return call([&]() -> Result<void> {
        if (!device) return is_null("the device");
        if (!device->attachment)
            return refused(EINVAL, "cannot detach " + device->device.name(), "it is in no space",
                           "attach it first");
        return detach_if_attached(*device);
    });
}

}  // namespace iommufd::inline v0_1::capi
