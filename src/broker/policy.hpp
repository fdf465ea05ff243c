// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Who may have what. What isn't allowed is refused.
//
//     tenant 'a'  <- whoever one of its rules describes: uid 1000, unit vm-a.service
//        '-> an iommufd of its own, the devices 0000:02:00.0 and 0000:02:00.1, 64 GiB of locked memory
//        '-> or memory that the broker maps for it: mediated
//
// Whoever holds the descriptor of a bound device can attach it to any IOAS of the device's iommufd. So each client gets
// an iommufd for itself, unless its tenant's clients trust each other.
//
// Threads: values.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/peer.hpp"
#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::broker {

// Describes processes; all that it says must hold. One that says nothing describes nobody.
struct PeerRule {
    std::optional<uid_t> user = {};
    std::optional<gid_t> group = {};
    std::string unit = {};    // of the system's manager: "vm-a.service"
    std::string cgroup = {};  // this one and all below: "/machine.slice"
};

struct Quotas {
    std::uint32_t clients = 64;  // with something in their hands, at once
    std::uint32_t devices = 16;
    std::uint32_t iommufds = 64;
    // Of memory that is mapped for its clients.
    std::uint64_t pinned = std::uint64_t{64} << 20;  // bytes
    std::uint32_t mappings = 64;
    std::uint32_t seconds = 10;  // that mapping may take, looked at between steps of 1 GiB
};

struct Tenant {
    std::string name;
    std::vector<PeerRule> peers = {};
    bool iommufd = false;
    bool mediated = false;     // the broker maps for its clients, which get no iommufd
    bool descriptors = false;  // and they get the descriptors of their devices all the same
    std::vector<std::string> shared =
        {};  // mediated devices that stay with the broker, for several clients at once
    std::vector<std::string> devices = {};  // in full: "0000:02:00.0"
    std::vector<std::string> vdpa = {};     // "/dev/vhost-vdpa-0"
    bool trusted = false;                   // its clients trust each other: they share one iommufd
    bool unreset = false;             // may get a device that can't be reset after another client had it
    bool accounted_per_user = false;  // may have an iommufd whose pages count against its user's limit
    std::uint64_t memlock = 0;        // up to which RLIMIT_MEMLOCK is raised when a client asks; kUnlimited
    Quotas quotas = {};
};

struct Policy {
    std::vector<Tenant> tenants = {};

    // The first tenant that has a rule for the peer. EACCES: there is none; ESRCH, ENOENT: see Peer::cgroup().
    Result<const Tenant*> find(const Peer& peer) const;
};

bool describes(const PeerRule& rule, const Peer& peer, std::string_view cgroup) noexcept;

}  // namespace iommufd::inline v0_1::broker
