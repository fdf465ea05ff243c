// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <algorithm>
#include <utility>

#include "broker/state.hpp"
#include "error/compose.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{1};

}  // namespace

void Broker::State::release(const Handle& client) {
    if (std::exchange(client->is_gone, true) || client->is_busy) return;
    part_from(client);
}

void Broker::State::leave(Leaving& leaving, const std::string& name) {
    ShelfDevice& device = shelf.at(name);
    device.status = DeviceStatus::leaving;
    device.holder = nullptr;
    device.facts.reset();
    leaving.names.push_back(name);
}

void Broker::State::part_from(const Handle& client) {
    if (!has_anything(*client)) {
        std::erase(clients, client);
        return;
    }
    tell({.outcome = Outcome::returned, .what = what_it_has(*client), .who = {}, .why = {}}, client.get());
    auto leaving = std::make_shared<Leaving>();
    for (auto& [name, file] : client->vfio) {
        leave(*leaving, name);
        leaving->files.push_back(std::move(file));
    }
    if (client->space) {
        for (const Holder::Mapping& mapping : client->mappings) leaving->ranges.push_back(mapping.range);
        if (--client->space->clients == 0)
            for (const auto& [name, descriptor] : client->attached) leave(*leaving, name);
        leaving->space = client->space;
        leaving->client = client;
    } else {
        std::erase(clients, client);
    }
    for (auto& [name, file] : client->vdpa) {
        ShelfDevice& device = shelf.at(name);
        device.status = DeviceStatus::free;
        device.holder = nullptr;
    }
    client->vfio.clear();
    client->vdpa.clear();
    leaving->iommufd = std::move(client->iommufd);
    take_back_of(leaving);
}

void Broker::State::take_back_of(const std::shared_ptr<Leaving>& leaving) {
    const bool is_last = leaving->iommufd.use_count() == 1;
    options.run(
        [leaving, is_last, &kernel = kernel] {
            if (leaving->space) {
                for (const Range& range : leaving->ranges) leaving->space->unmap(range);
                for (const std::string& name : leaving->names) leaving->space->detach(name);
                leaving->space.reset();
            }
            take_back(std::move(leaving->files), is_last ? leaving->iommufd.get() : nullptr);
            leaving->iommufd.reset();
            for (const std::string& name : leaving->names) leaving->tried.push_back(try_device(kernel, name));
        },
        [leaving, weak = weak_from_this()] {
            const auto self = weak.lock();
            if (!self) return;
            if (leaving->client) {
                leaving->client->space.reset();
                std::erase(self->clients, leaving->client);
            }
            for (std::size_t i = 0; i < leaving->names.size(); ++i) {
                ShelfDevice& device = self->shelf.at(leaving->names[i]);
                device.patience_ends = Clock::now() + kPatience;
                self->tried(device, leaving->tried[i]);
            }
        });
}

std::string Broker::State::what_it_has(const Holder& client) {
    Request all{.iommufd = client.has_iommufd()};
    for (const auto& [name, file] : client.vfio) all.devices.push_back(name);
    for (const auto& [name, file] : client.vdpa) all.vdpa.push_back(name);
    if (!client.space) return text(all);
    std::vector<std::string> parts;
    for (const auto& [name, descriptor] : client.attached)
        parts.push_back(compose("mediated ", object::quote(name)));
    if (!client.mappings.empty()) parts.push_back(compose(client.mappings.size(), " mappings"));
    if (all.iommufd || !all.devices.empty() || !all.vdpa.empty()) parts.push_back(text(all));
    return object::joined(parts);
}

void Broker::State::tried(ShelfDevice& device, const Result<DeviceFacts>& facts) {
    if (facts) {
        device.status = DeviceStatus::free;
        device.facts = *facts;
        return recovered(device);
    }
    device.status = device.is_tainted ? DeviceStatus::tainted : DeviceStatus::settling;
    if (device.is_tainted || Clock::now() < device.patience_ends) return;
    device.status = DeviceStatus::tainted;
    device.is_tainted = true;
    tell({.outcome = Outcome::tainted, .what = device.name, .who = {}, .why = facts.error().line()}, nullptr);
}

void Broker::State::recovered(ShelfDevice& device) {
    if (std::exchange(device.is_tainted, false))
        tell({.outcome = Outcome::recovered, .what = device.name, .who = {}, .why = {}}, nullptr);
}

void Broker::State::retry_devices() {
    for (auto& [name, device] : shelf.all()) {
        if (device.status != DeviceStatus::settling && device.status != DeviceStatus::tainted) continue;
        device.status = DeviceStatus::trying;
        auto facts = std::make_shared<std::optional<Result<DeviceFacts>>>();
        options.run([facts, device_name = name, &on = kernel] { *facts = try_device(on, device_name); },
                    [facts, device_name = name, weak = weak_from_this()] {
                        if (const auto self = weak.lock()) self->tried(self->shelf.at(device_name), **facts);
                    });
    }
}

void Broker::State::has_ended(const Handle& client) {
    if (std::exchange(client->is_busy, false) && client->is_gone) part_from(client);
}

}  // namespace iommufd::inline v0_1::broker
