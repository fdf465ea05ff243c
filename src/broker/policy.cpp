// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/policy.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::broker {

bool describes(const PeerRule& rule, const Peer& peer, std::string_view cgroup) noexcept {
    if (!rule.user && !rule.group && rule.unit.empty() && rule.cgroup.empty()) return false;
    const bool is_below =
        cgroup.starts_with(rule.cgroup) &&
        (cgroup.size() == rule.cgroup.size() || rule.cgroup == "/" || cgroup[rule.cgroup.size()] == '/');
    return (!rule.user || *rule.user == peer.user) && (!rule.group || *rule.group == peer.group) &&
           (rule.unit.empty() || rule.unit == unit_of(cgroup)) && (rule.cgroup.empty() || is_below);
}

Result<const Tenant*> Policy::find(const Peer& peer) const {
    const auto needs_cgroup = [](const PeerRule& rule) { return !rule.unit.empty() || !rule.cgroup.empty(); };
    std::string cgroup;
    if (std::ranges::any_of(
            tenants, [&](const Tenant& tenant) { return std::ranges::any_of(tenant.peers, needs_cgroup); })) {
        auto its = peer.cgroup();
        if (!its && its.error().code() != ENOENT) return its.error();
        if (its) cgroup = *std::move(its);
    }
    for (const Tenant& tenant : tenants)
        for (const PeerRule& rule : tenant.peers)
            if (describes(rule, peer, cgroup)) return &tenant;
    return Error::refused(EACCES, "cannot serve this client",
                          compose("no tenant of the policy is for uid ", peer.user, ", gid ", peer.group,
                                  cgroup.empty() ? std::string() : compose(", cgroup ", cgroup)),
                          "add one of them to a tenant's peers, or connect as somebody else");
}

}  // namespace iommufd::inline v0_1::broker
