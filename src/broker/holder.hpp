// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/mediated_space.hpp"
#include "broker/peer.hpp"
#include "broker/policy.hpp"
#include "iommufd/core/context.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::broker {

// What a client has. The broker's thread's.
class Holder {
public:
    explicit Holder(Peer its) : peer(std::move(its)) {}

    struct Mapping {
        Range range;
        std::uint64_t pinned;  // bytes, at most
    };

    bool has_iommufd() const noexcept { return iommufd || shared_iommufd || has_parted; }
    bool has_anything() const noexcept { return has_iommufd() || space || !vfio.empty() || !vdpa.empty(); }

    Peer peer;
    std::string who = {};            // as the journal has it, from its first line about it on
    const Tenant* tenant = nullptr;  // known when it asks first

    std::shared_ptr<core::Context> iommufd;
    std::optional<int> shared_iommufd;  // the broker's owner's
    std::map<std::string, sys::Fd> vfio;
    std::map<std::string, sys::Fd> vdpa;

    std::shared_ptr<MediatedSpace> space;
    std::map<std::string, int> attached;  // its devices there, with their descriptors
    bool shares_space = false;            // with other clients of the one device that is attached
    std::vector<Mapping> mappings;
    std::uint64_t pinning = 0;  // bytes, by a call that is under way

    bool is_busy = false;     // a call works on its space
    bool has_parted = false;  // from the broker, with an iommufd for good
    bool is_gone = false;
};

}  // namespace iommufd::inline v0_1::broker
