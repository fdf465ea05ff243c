// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/broker.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "broker/state.hpp"
#include "error/compose.hpp"
#include "object/words.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::broker {
std::string text(const Request& request) {
    std::vector<std::string> parts;
    if (request.iommufd) parts.emplace_back("iommufd");
    for (const std::string& device : request.devices)
        parts.push_back(compose(request.mediated ? "mediated " : "", object::quote(device)));
    for (const std::string& node : request.vdpa) parts.push_back(object::quote(node));
    if (request.memlock)
        parts.push_back(*request.memlock == kUnlimited
                            ? "unlimited locked memory"
                            : compose(size_text(*request.memlock), " of locked memory"));
    return parts.empty() ? "nothing" : object::joined(parts);
}

std::string_view name(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::given:
            return "given";
        case Outcome::refused:
            return "refused";
        case Outcome::returned:
            return "returned";
        case Outcome::tainted:
            return "tainted";
        case Outcome::recovered:
            return "recovered";
    }
    return {};
}

void Broker::State::tell(Record record, Holder* client) const {
    if (!options.journal) return;
    if (client) {
        if (client->who.empty()) client->who = client->peer.text();
        record.party =
            client->tenant ? compose("'", client->tenant->name, "'") : compose("uid ", client->peer.user);
        record.who = client->tenant ? compose(record.party, " (", client->who, ")") : client->who;
    }
    options.journal(record);
}

Result<void> Broker::State::check(Holder& client, const Request& request) {
    if (auto known = know(client); !known) return known;
    if (auto allowed = check_policy(client, request); !allowed) return allowed;
    if (options.iommufd)
        if (auto shareable = check_sharing(clients, client, request); !shareable) return shareable;
    return check_quotas(clients, client, request);
}

Result<void> Broker::State::know(Holder& client) const {
    if (client.tenant) return {};
    auto tenant = options.policy.find(client.peer);
    if (!tenant) return tenant.error();
    client.tenant = *tenant;
    return {};
}

Result<std::vector<Broker::State::Opening>> Broker::State::reserve(
    const Holder& client, const Request& request, const std::shared_ptr<MediatedSpace>& space) {
    std::vector<Opening> openings;
    const void* const holder = space ? static_cast<const void*>(space.get()) : &client;
    const auto put = [&](const std::string& name, bool is_vdpa) -> Result<void> {
        if (std::ranges::find(openings, name, &Opening::name) != openings.end()) return {};
        ShelfDevice& device = shelf.at(name);
        Opening opening{.name = name, .is_vdpa = is_vdpa, .space = space};
        if (device.facts && device.status == DeviceStatus::free)
            if (auto file = open_tried(kernel, *device.facts)) opening.file = *std::move(file);
        if (!opening.file && !is_vdpa) device.group = group_of(kernel, name);
        if (auto refusal = shelf.refuses(device, holder)) return *std::move(refusal);
        openings.push_back(std::move(opening));
        device.status = DeviceStatus::opening;
        device.holder = holder;
        return {};
    };
    Result<void> refused;
    for (const std::string& name : request.devices)
        if (refused && !client.vfio.contains(name) && !is_joined(name, space)) refused = put(name, false);
    for (const std::string& name : request.vdpa)
        if (refused && !client.vdpa.contains(name)) refused = put(name, true);
    if (refused) return openings;
    for (const Opening& opening : openings) put_back(opening);
    return refused.error();
}

bool Broker::State::is_joined(const std::string& name, const std::shared_ptr<MediatedSpace>& space) {
    const ShelfDevice& device = shelf.at(name);
    return space && device.holder == space.get() && device.status == DeviceStatus::held;
}

Result<std::shared_ptr<MediatedSpace>> Broker::State::space_for(const Holder& client,
                                                                const Request& request) {
    if (client.space) return client.space;
    const std::string& device = request.devices.front();
    const bool shares = is_shared(*client.tenant, device);
    if (shares)
        if (auto theirs = shared_spaces[device].lock(); theirs && is_joined(device, theirs)) return theirs;
    return MediatedSpace::open(kernel, shares ? device : client.tenant->name);
}

void Broker::State::put_back(const Opening& opening) {
    ShelfDevice& device = shelf.at(opening.name);
    device.holder = nullptr;
    // Whoever has what was never given from here must be known to the machine's owner.
    device.status =
        device.facts || !device.last || opening.is_vdpa ? DeviceStatus::free : DeviceStatus::settling;
}

Result<std::shared_ptr<core::Context>> Broker::State::open_iommufd(const Tenant& tenant) {
    if (tenant.trusted)
        if (auto shared = iommufds[&tenant].lock()) return shared;
    auto opened = core::Context::open({.label = tenant.name, .report = {}, .kernel = &kernel});
    if (!opened) return opened.error();
    const auto set = opened->set_rlimit_mode(core::RlimitMode::per_process);
    if (!set && !tenant.accounted_per_user)
        return set.error().because(
            "without CAP_SYS_RESOURCE what the client locks counts against all of its user's processes",
            "run the broker as root, or give the tenant \"accounting\": \"user\" in the policy");
    auto shared = std::make_shared<core::Context>(*std::move(opened));
    if (tenant.trusted) iommufds[&tenant] = shared;
    return shared;
}

void Broker::State::get(const Handle& client, Request request, Done done) {
    for (std::string& device : request.devices) device = vfio::full_name(device);
    auto job =
        std::make_shared<Job>(Job{.client = client, .request = std::move(request), .done = std::move(done)});
    if (auto begun = begin(*job); !begun) return refuse(*job, begun.error());
    const auto open_all = [job, &kernel = kernel] {
        for (Opening& opening : job->openings) {
            opening.open(kernel);
            if (!*opening.file) break;
        }
    };
    if (std::ranges::none_of(job->openings, &Opening::takes_long)) {
        open_all();
        return finish(*job);
    }
    options.run(open_all, [job, weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->finish(*job);
    });
}

Result<void> Broker::State::begin(Job& job) {
    Holder& client = *job.client;
    if (auto allowed = check(client, job.request); !allowed) return allowed;
    if (job.request.mediated) {
        auto space = space_for(client, job.request);
        if (!space) return space.error();
        job.space = *std::move(space);
    }
    auto openings = reserve(client, job.request, job.space);
    if (!openings) return openings.error();
    job.openings = *std::move(openings);
    client.is_busy = job.request.mediated;
    if (!job.request.iommufd || client.iommufd || client.shared_iommufd || options.iommufd) return {};
    auto opened = open_iommufd(*client.tenant);
    if (!opened) {
        for (const Opening& opening : job.openings) put_back(opening);
        return opened.error();
    }
    job.new_iommufd = *std::move(opened);
    return {};
}

void Broker::State::refuse(Job& job, const Error& error) {
    if (job.client->is_gone) return;
    tell({.outcome = Outcome::refused, .what = text(job.request), .who = {}, .why = error.line()},
         job.client.get());
    job.done(error);
}

void Broker::State::finish(Job& job) {
    for (const Opening& opening : job.openings)
        if (opening.facts) {
            ShelfDevice& device = shelf.at(opening.name);
            device.facts = *opening.facts ? std::optional(**opening.facts) : std::nullopt;
            if (device.facts) recovered(device);
        }
    auto given = take(job);
    if (given) {
        job.client->is_busy = false;
        return job.done(*std::move(given));
    }
    auto leaving = std::make_shared<Leaving>();
    for (const Opening& opening : job.openings) {
        put_back(opening);
        if (opening.attached >= 0) leave(*leaving, opening.name);
    }
    leaving->space = std::move(job.space);
    job.new_iommufd.reset();
    if (!leaving->names.empty()) take_back_of(leaving);
    refuse(job, given.error());
    has_ended(job.client);
}

Result<Grant> Broker::State::take(Job& job) {
    Holder& client = *job.client;
    if (client.is_gone || !client.peer.is_alive())
        return Error::refused(ESRCH, "cannot serve this client", "it has ended meanwhile", "connect again");
    for (const Opening& opening : job.openings) {
        if (opening.file && !*opening.file) return opening.file->error();
        if (auto refusal = Shelf::refuses(shelf.at(opening.name), *client.tenant)) return *std::move(refusal);
    }
    std::optional<int> shared;
    if (job.request.iommufd && options.iommufd) {
        auto number = options.iommufd();
        if (!number) return number.error();
        shared = *number;
    }
    if (job.request.memlock)
        if (auto allowed = client.peer.allow_locked(*job.request.memlock); !allowed) return allowed.error();

    if (shared) client.shared_iommufd = shared;
    if (job.new_iommufd) client.iommufd = std::move(job.new_iommufd);
    if (job.space) join(client, job);
    for (Opening& opening : job.openings) {
        ShelfDevice& device = shelf.at(opening.name);
        device.status = DeviceStatus::held;
        if (!job.space || (client.tenant->descriptors && !client.shares_space)) device.last = client.tenant;
        if (job.space) continue;
        (opening.is_vdpa ? client.vdpa : client.vfio).emplace(opening.name, **std::move(opening.file));
    }
    tell({.outcome = Outcome::given, .what = text(job.request), .who = {}, .why = {}}, &client);
    return grant(client, job.request);
}

void Broker::State::join(Holder& client, const Job& job) {
    if (!client.space) {
        client.space = job.space;
        client.shares_space = is_shared(*client.tenant, job.request.devices.front());
        ++client.space->clients;
        if (client.shares_space) shared_spaces[job.request.devices.front()] = client.space;
    }
    for (const std::string& name : job.request.devices) client.attached.try_emplace(name, -1);
    for (const Opening& opening : job.openings) client.attached[opening.name] = opening.attached;
}

Grant Broker::State::mediated_grant(const Holder& client, const Request& request) {
    Grant grant;
    Answer& answer = grant.answer;
    for (const std::string& name : request.devices) {
        if (std::ranges::find(answer.attached, name) != answer.attached.end()) continue;
        answer.attached.push_back(name);
        if (client.shares_space)
            answer.notes.push_back(compose(
                name, " stays with the broker, which drives it for its clients, ", client.space->clients,
                " now: they are not isolated from each other, since it reaches what all of them map"));
        else if (!client.tenant->descriptors)
            answer.notes.push_back(compose("the policy gives no descriptor of ", name, " away"));
        else {
            answer.given.push_back({GivenKind::vfio, name});
            grant.descriptors.push_back(client.attached.at(name));
        }
    }
    return grant;
}

Grant Broker::State::grant(const Holder& client, const Request& request) const {
    if (request.mediated) return mediated_grant(client, request);
    Grant grant;
    const auto put = [&](GivenKind kind, const std::string& name, int descriptor) {
        if (std::ranges::find(grant.answer.given, Given{kind, name}) != grant.answer.given.end()) return;
        grant.answer.given.push_back({kind, name});
        grant.descriptors.push_back(descriptor);
    };
    if (request.iommufd) {
        put(GivenKind::iommufd, "iommufd", client.iommufd ? client.iommufd->fd() : *client.shared_iommufd);
        if (client.shared_iommufd)
            grant.answer.notes.emplace_back("the iommufd is shared with the broker and its other clients");
        else if (client.tenant->trusted)
            grant.answer.notes.emplace_back("the iommufd is shared with the tenant's other clients");
    }
    for (const std::string& name : request.devices) put(GivenKind::vfio, name, client.vfio.at(name).number());
    for (const std::string& name : request.vdpa) put(GivenKind::vdpa, name, client.vdpa.at(name).number());
    return grant;
}

Broker::Broker(Options options) : state_(std::make_shared<State>(std::move(options))) {}
Broker::~Broker() = default;

std::shared_ptr<Holder> Broker::admit(Peer peer) {
    return state_->clients.emplace_back(std::make_shared<Holder>(std::move(peer)));
}

void Broker::get(const std::shared_ptr<Holder>& client, Request request, Done done) {
    state_->get(client, std::move(request), std::move(done));
}

void Broker::map(const std::shared_ptr<Holder>& client, const MapRequest& wanted, sys::Fd memory, Done done) {
    state_->map(client, wanted, std::move(memory), std::move(done));
}

void Broker::unmap(const std::shared_ptr<Holder>& client, const UnmapRequest& wanted, Done done) {
    state_->unmap(client, wanted, std::move(done));
}

bool Broker::may_send_memory(const std::shared_ptr<Holder>& client) {
    return state_->know(*client) && client->tenant->mediated;
}

void Broker::release(const std::shared_ptr<Holder>& client) { state_->release(client); }

void Broker::part_with_iommufd(const std::shared_ptr<Holder>& client) {
    client->has_parted = client->has_iommufd();
    client->iommufd.reset();
}

void Broker::retry_devices() { state_->retry_devices(); }

bool Broker::has_devices_to_retry() const noexcept {
    using enum DeviceStatus;
    // Also those of which it will show only when what is under way is done.
    constexpr std::array kUnsettled{leaving, settling, tainted, trying};
    return std::ranges::any_of(state_->clients, &Holder::is_gone) ||
           std::ranges::any_of(state_->shelf.all(), [&](const auto& entry) {
               return std::ranges::find(kUnsettled, entry.second.status) != kUnsettled.end();
           });
}

bool Broker::has_anything(const Holder& client) noexcept { return client.has_anything(); }

}  // namespace iommufd::inline v0_1::broker
