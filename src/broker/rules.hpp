// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the policy and the books say to a request, before anything is done for it.
//
// Threads: the broker's.
#pragma once

#include <memory>
#include <vector>

#include "broker/holder.hpp"
#include "broker/protocol.hpp"

namespace iommufd::inline v0_1::broker {

// Why something that was asked for isn't given.
Error cannot_give(std::string_view what, int code, std::string cause, std::string next);

using Holders = std::vector<std::shared_ptr<Holder>>;

// Whether the device is one that several clients of the tenant may share.
bool is_shared(const Tenant& tenant, const std::string& device);

// Of a client that is known: EACCES: the policy doesn't allow it; EINVAL: it can't be had together, or with what the client has.
Result<void> check_policy(const Holder& client, const Request& request);
// Whether it may have the one iommufd that all clients get, or a device of it. EPERM.
Result<void> check_sharing(const Holders& clients, const Holder& client, const Request& request);
// EDQUOT.
Result<void> check_quotas(const Holders& clients, const Holder& client, const Request& request);
// Whether so many bytes more may be pinned for it. EACCES, ENODEV: no device would see them; EDQUOT.
Result<void> check_mapping(const Holders& clients, const Holder& client, std::uint64_t bytes);

}  // namespace iommufd::inline v0_1::broker
