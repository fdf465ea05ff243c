// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/rules.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
}

Error over_quota(const Tenant& tenant, std::string_view what, std::string_view most) {
    return Error::refused(EDQUOT, "cannot give more away",
                          compose("'", tenant.name, "' has its ", most, what),
                          "let another of its clients hang up, or raise the quota");
}

Result<void> check_mediated(const Holder& client, const Request& request) {
    const Tenant& tenant = *client.tenant;
    const auto not_together = [](std::string cause, std::string next) {
        return Error::refused(EINVAL, "cannot attach devices for this client", std::move(cause),
                              std::move(next));
    };
    if (request.iommufd || !request.vdpa.empty())
        return not_together("what is mediated comes without an iommufd, and without vhost-vdpa",
                            "ask for devices");
    if (request.devices.empty())
        return not_together("it names no device", "name those that shall see the memory");
    if (client.has_iommufd() || !client.vfio.empty())
        return not_together("it has an iommufd, or devices, of its own", "connect a second time");
    for (const std::string& device : request.devices)
        if (is_shared(tenant, device) && !client.attached.contains(device) &&
            (request.devices.size() > 1 || client.space))
            return not_together(
                compose(device, " is shared, and such a device is the only one of its clients"),
                "connect once for each");
    if (client.shares_space && std::ranges::any_of(request.devices, [&](const std::string& device) {
            return !client.attached.contains(device);
        }))
        return not_together("it has a device that is shared, which is the only one then",
                            "connect a second time");
    return {};
}

}  // namespace

Error cannot_give(std::string_view what, int code, std::string cause, std::string next) {
    return Error::refused(code, compose("cannot give ", what, " away"), std::move(cause), std::move(next));
}

bool is_shared(const Tenant& tenant, const std::string& device) { return has(tenant.shared, device); }

Result<void> check_policy(const Holder& client, const Request& request) {
    const Tenant& tenant = *client.tenant;
    const auto not_allowed = [&](std::string_view what) {
        return cannot_give(what, EACCES, compose("the policy doesn't allow it to '", tenant.name, "'"),
                           "ask for what it allows, or change the policy");
    };
    if (request.iommufd && !tenant.iommufd) return not_allowed("an iommufd");
    if (request.mediated && !tenant.mediated) return not_allowed("memory that is mapped for it");
    for (const std::string& device : request.devices)
        if (!has(tenant.devices, device) && !(request.mediated && is_shared(tenant, device)))
            return not_allowed(object::quote(device));
    for (const std::string& node : request.vdpa)
        if (!has(tenant.vdpa, node)) return not_allowed(object::quote(node));
    if (request.memlock && *request.memlock > tenant.memlock)
        return Error::refused(EACCES, "cannot raise the client's RLIMIT_MEMLOCK",
                              compose("the policy allows '", tenant.name, "' ", size_text(tenant.memlock)),
                              "ask for less, or change the policy");
    if (request.mediated) return check_mediated(client, request);
    if (!request.devices.empty() && tenant.mediated && !tenant.iommufd)
        return cannot_give(object::quote(request.devices.front()), EACCES,
                           compose("the policy has the broker map for '", tenant.name, "'"),
                           "ask for it mediated");
    if (client.space && (request.iommufd || !request.devices.empty()))
        return Error::refused(EINVAL, "cannot give this client an iommufd, or devices, of its own",
                              "the broker maps for it", "connect a second time");
    return {};
}

// Whoever has the one iommufd, or a device bound to it, reaches all that the others have there.
Result<void> check_sharing(const Holders& clients, const Holder& client, const Request& request) {
    if (request.mediated || (!request.iommufd && request.devices.empty())) return {};
    const std::string what = request.devices.empty() ? "an iommufd that others use as well"
                                                     : object::quote(request.devices.front());
    if (!client.tenant->trusted)
        return cannot_give(
            what, EPERM,
            compose("whoever has the iommufd, or a device, reaches every address space that is in it, and '",
                    client.tenant->name, "' is not trusted with those of others"),
            "say \"trusted\": true in the policy, or have `iommufd serve` give each an iommufd of its own");
    for (const auto& each : clients)
        if (each->tenant && each->tenant != client.tenant && each->has_anything())
            return cannot_give(
                what, EPERM,
                compose("a client of '", each->tenant->name,
                        "' has the iommufd, and only those of one tenant trust each other"),
                "wait until it hangs up, or have `iommufd serve` give each an iommufd of its own");
    return {};
}

Result<void> check_quotas(const Holders& clients, const Holder& client, const Request& request) {
    const Tenant& tenant = *client.tenant;
    std::size_t active = 0, devices = 0, contexts = 0;
    for (const auto& each : clients) {
        if (each->tenant != &tenant) continue;
        active += each.get() != &client && each->has_anything() ? 1 : 0;
        devices += each->vfio.size() + each->vdpa.size() + each->attached.size();
        contexts += each->has_iommufd() || (each->space && !each->shares_space) ? 1 : 0;
    }
    const bool has_context = client.has_iommufd() || client.space;
    const bool wants_context =
        request.iommufd || (request.mediated && !is_shared(tenant, request.devices.front()));
    for (const std::string& device : request.devices)
        devices += client.vfio.contains(device) || client.attached.contains(device) ? 0 : 1;
    for (const std::string& node : request.vdpa) devices += client.vdpa.contains(node) ? 0 : 1;
    if (active >= tenant.quotas.clients)
        return over_quota(tenant, " clients", compose(tenant.quotas.clients));
    if (devices > tenant.quotas.devices)
        return over_quota(tenant, " devices", compose(tenant.quotas.devices));
    if (wants_context && !has_context && contexts >= tenant.quotas.iommufds)
        return over_quota(tenant, " iommufds", compose(tenant.quotas.iommufds));
    return {};
}

Result<void> check_mapping(const Holders& clients, const Holder& client, std::uint64_t bytes) {
    if (!client.space)
        return Error::refused(ENODEV, "cannot map the client's memory", "it has no device that would see it",
                              "ask for one first, mediated");
    const Tenant& tenant = *client.tenant;
    std::uint64_t pinned = 0, mappings = 0;
    for (const auto& each : clients) {
        if (each->tenant != &tenant) continue;
        pinned += each->pinning;
        mappings += each->mappings.size() + (each->pinning != 0 ? 1 : 0);
        for (const Holder::Mapping& mapping : each->mappings) pinned += mapping.pinned;
    }
    if (mappings >= tenant.quotas.mappings)
        return over_quota(tenant, " mappings", compose(tenant.quotas.mappings));
    // What is pinned never exceeds the quota.
    if (bytes > tenant.quotas.pinned || pinned > tenant.quotas.pinned - bytes)
        return Error::refused(
            EDQUOT, "cannot map the client's memory",
            compose("of the ", size_text(tenant.quotas.pinned), " that may be pinned for '", tenant.name,
                    "' ", size_text(pinned), " are, and this takes ", size_text(bytes)),
            "unmap something, or raise the quota");
    return {};
}

}  // namespace iommufd::inline v0_1::broker
