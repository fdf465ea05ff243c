// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/shelf.hpp"

#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

Error cannot_give(const ShelfDevice& device, int code, std::string cause, std::string next) {
    return Error::refused(code, compose("cannot give ", device.name, " away"), std::move(cause),
                          std::move(next));
}

}  // namespace

std::optional<Error> Shelf::refuses(const ShelfDevice& device, const void* holder) const {
    using enum DeviceStatus;
    if (device.status == opening || device.status == held || device.status == leaving ||
        device.status == trying)
        return cannot_give(
            device, EBUSY,
            device.status == opening || device.status == held
                ? "another client has it"
                : "its last client has just left, and it is being taken back",
            device.status == opening || device.status == held ? "wait until that one hangs up" : "ask again");
    for (const auto& [name, other] : devices_) {
        if (&other == &device || other.group.empty() || other.group != device.group || other.status == free ||
            other.holder == holder)
            continue;
        return cannot_give(
            device, EBUSY,
            compose("the IOMMU can't keep it apart from ", name, " (group ", device.group, "), which ",
                    other.holder ? "another client has" : "its last client may still have"),
            "wait until that one is free, or ask for both at once");
    }
    return std::nullopt;
}

std::optional<Error> Shelf::refuses(const ShelfDevice& device, const Tenant& tenant) {
    const bool is_known = device.last == &tenant && tenant.trusted;
    if (!device.last || is_known || tenant.unreset || !device.facts || device.facts->resets)
        return std::nullopt;
    return cannot_give(
        device, EPERM,
        compose("it can't be reset, and may still be as a client of '", device.last->name, "' left it"),
        "restart the machine, or give the tenant \"unreset\": true in the policy");
}

}  // namespace iommufd::inline v0_1::broker
