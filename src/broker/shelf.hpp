// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The books of the devices that a policy names: who has which, and whether it may go to the next one.
//
// Threads: one at a time.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/devices.hpp"
#include "broker/policy.hpp"

namespace iommufd::inline v0_1::broker {

enum class DeviceStatus : std::uint8_t {
    free,
    opening,  // for its holder
    held,
    leaving,   // its holder has left, and it is being taken back
    settling,  // somebody still has it open; who was killed may not be gone altogether yet
    tainted,   // somebody still has it
    trying,    // whether it is free again
};

struct ShelfDevice {
    std::string name;
    DeviceStatus status = DeviceStatus::free;
    const void* holder = nullptr;  // a client, or the space of clients that share it
    const Tenant* last = nullptr;  // to whose client it was given; null: to nobody yet
    std::string group = {};
    std::optional<DeviceFacts> facts = {};  // nothing: it must be tried before it is given
    bool is_tainted = false;                // and the journal knows
    std::chrono::steady_clock::time_point patience_ends = {};
};

class Shelf {
public:
    // The device of that name, which a policy has.
    ShelfDevice& at(const std::string& name) { return devices_.try_emplace(name, name).first->second; }
    std::map<std::string, ShelfDevice>& all() noexcept { return devices_; }

    // Why the client can't have it now: another one has it, or another member of its group.
    std::optional<Error> refuses(const ShelfDevice& device, const void* holder) const;
    // Why the tenant's client can't have it after its last user, now that the facts are known.
    static std::optional<Error> refuses(const ShelfDevice& device, const Tenant& tenant);

private:
    std::map<std::string, ShelfDevice> devices_;
};

}  // namespace iommufd::inline v0_1::broker
