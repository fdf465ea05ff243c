// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/broker.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "broker/shelf.hpp"
#include "error/compose.hpp"
#include "object/words.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience{1};

Error cannot_give(std::string_view what, int code, std::string cause, std::string next) {
    return Error::refused(code, compose("cannot give ", what, " away"), std::move(cause), std::move(next));
}

std::string text(const Request& request) {
    std::vector<std::string> parts;
    if (request.iommufd) parts.emplace_back("iommufd");
    for (const std::string& device : request.devices) parts.push_back(object::quote(device));
    for (const std::string& node : request.vdpa) parts.push_back(object::quote(node));
    if (request.memlock)
        parts.push_back(*request.memlock == kUnlimited
                            ? "unlimited locked memory"
                            : compose(size_text(*request.memlock), " of locked memory"));
    return parts.empty() ? "nothing" : object::joined(parts);
}

}  // namespace

class Holder {
public:
    explicit Holder(Peer its) : peer(std::move(its)) {}

    Peer peer;
    std::string who = {};  // as the journal has it, from its first line about it on
    const Tenant* tenant = nullptr;
    std::shared_ptr<core::Context> iommufd;
    std::optional<int> shared_iommufd;  // the broker's owner's
    std::map<std::string, sys::Fd> vfio;
    std::map<std::string, sys::Fd> vdpa;
    bool has_parted = false;  // from the broker, with an iommufd for good
    bool is_gone = false;

    bool has_iommufd() const noexcept { return iommufd || shared_iommufd || has_parted; }
};

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

struct Broker::State : std::enable_shared_from_this<Broker::State> {
    using Handle = std::shared_ptr<Holder>;

    // A device that is opened for a request, somewhere else.
    struct Opening {
        std::string name;
        bool is_vdpa;
        bool is_tried_first;
        std::optional<DeviceFacts> known = {};
        std::optional<Result<DeviceFacts>> facts = {};
        std::optional<Result<sys::Fd>> file = {};

        // To open a VFIO device is to look it up: it is made ready, and reset, when it is bound. A vDPA device is reset.
        bool takes_long() const noexcept { return is_vdpa || is_tried_first; }
        void open(sys::Kernel& on) {
            if (is_tried_first) facts = try_device(on, name);
            if (facts && !*facts)
                file = facts->error();
            else
                file = is_vdpa ? open_vdpa(on, name) : open_vfio(on, name, facts ? **facts : known);
        }
    };
    struct Job {
        Handle client;
        Request request;
        Done done;
        std::shared_ptr<core::Context> new_iommufd = {};
        std::vector<Opening> openings = {};
    };

    explicit State(Options its)
        : options(std::move(its)), kernel(options.kernel ? *options.kernel : sys::host_kernel()) {
        if (!options.run)
            options.run = [](Work work, Work then) {
                work();
                then();
            };
    }

    void tell(Outcome outcome, std::string what, Holder* client, std::string why = {}) const {
        if (!options.journal) return;
        std::string who;
        if (client && client->who.empty()) client->who = client->peer.text();
        if (client)
            who = client->tenant ? compose("'", client->tenant->name, "' (", client->who, ")") : client->who;
        options.journal({outcome, std::move(what), std::move(who), std::move(why)});
    }

    // What the policy and the books say, before anything is done.
    Result<void> check(Holder& client, const Request& request) {
        if (!client.tenant) {
            auto tenant = options.policy.find(client.peer);
            if (!tenant) return tenant.error();
            client.tenant = *tenant;
        }
        const Tenant& tenant = *client.tenant;
        const auto not_allowed = [&](std::string_view what) {
            return cannot_give(what, EACCES, compose("the policy doesn't allow it to '", tenant.name, "'"),
                               "ask for what it allows, or change the policy");
        };
        if (request.iommufd && !tenant.iommufd) return not_allowed("an iommufd");
        for (const std::string& device : request.devices)
            if (std::ranges::find(tenant.devices, device) == tenant.devices.end())
                return not_allowed(object::quote(device));
        for (const std::string& node : request.vdpa)
            if (std::ranges::find(tenant.vdpa, node) == tenant.vdpa.end())
                return not_allowed(object::quote(node));
        if (request.memlock && *request.memlock > tenant.memlock)
            return Error::refused(
                EACCES, "cannot raise the client's RLIMIT_MEMLOCK",
                compose("the policy allows '", tenant.name, "' ", size_text(tenant.memlock)),
                "ask for less, or change the policy");
        if (auto shareable = check_sharing(client, request); !shareable) return shareable;
        return check_quotas(client, request);
    }

    // Whoever has the one iommufd, or a device bound to it, reaches all that the others have there.
    Result<void> check_sharing(const Holder& client, const Request& request) const {
        if (!options.iommufd || (!request.iommufd && request.devices.empty())) return {};
        const std::string what = request.devices.empty() ? "an iommufd that others use as well"
                                                         : object::quote(request.devices.front());
        if (!client.tenant->trusted)
            return cannot_give(
                what, EPERM,
                compose(
                    "whoever has the iommufd, or a device, reaches every address space that is in it, and '",
                    client.tenant->name, "' is not trusted with those of others"),
                "say \"trusted\": true in the policy, or have `iommufd serve` give each an iommufd of its "
                "own");
        for (const Handle& each : clients)
            if (each->tenant && each->tenant != client.tenant && has_anything(*each))
                return cannot_give(
                    what, EPERM,
                    compose("a client of '", each->tenant->name,
                            "' has the iommufd, and only those of one tenant trust each other"),
                    "wait until it hangs up, or have `iommufd serve` give each an iommufd of its own");
        return {};
    }

    Result<void> check_quotas(const Holder& client, const Request& request) const {
        const Tenant& tenant = *client.tenant;
        std::size_t active = 0, devices = 0, contexts = 0;
        for (const Handle& each : clients) {
            if (each->tenant != &tenant) continue;
            active += each.get() != &client && has_anything(*each) ? 1 : 0;
            devices += each->vfio.size() + each->vdpa.size();
            contexts += each->has_iommufd() ? 1 : 0;
        }
        const auto over = [&](std::string_view what, std::size_t most) {
            return Error::refused(EDQUOT, "cannot give more away",
                                  compose("'", tenant.name, "' has its ", most, " ", what),
                                  "let another of its clients hang up, or raise the quota");
        };
        for (const std::string& device : request.devices) devices += client.vfio.contains(device) ? 0 : 1;
        for (const std::string& node : request.vdpa) devices += client.vdpa.contains(node) ? 0 : 1;
        if (active >= tenant.quotas.clients) return over("clients", tenant.quotas.clients);
        if (devices > tenant.quotas.devices) return over("devices", tenant.quotas.devices);
        if (request.iommufd && !client.has_iommufd() && contexts >= tenant.quotas.iommufds)
            return over("iommufds", tenant.quotas.iommufds);
        return {};
    }

    // The devices that must be opened, marked in the books.
    Result<std::vector<Opening>> reserve(const Holder& client, const Request& request) {
        std::vector<Opening> openings;
        const auto put = [&](const std::string& name, bool is_vdpa) -> Result<void> {
            if (std::ranges::find(openings, name, &Opening::name) != openings.end()) return {};
            ShelfDevice& device = shelf.at(name);
            if (!is_vdpa) device.group = group_of(kernel, name);
            if (auto refusal = shelf.refuses(device, client)) return *std::move(refusal);
            const bool is_tried_first = !is_vdpa && (!device.facts || device.status != DeviceStatus::free);
            openings.push_back(
                {.name = name, .is_vdpa = is_vdpa, .is_tried_first = is_tried_first, .known = device.facts});
            device.status = DeviceStatus::opening;
            device.holder = &client;
            return {};
        };
        Result<void> refused;
        for (const std::string& name : request.devices)
            if (refused && !client.vfio.contains(name)) refused = put(name, false);
        for (const std::string& name : request.vdpa)
            if (refused && !client.vdpa.contains(name)) refused = put(name, true);
        if (refused) return openings;
        for (const Opening& opening : openings) put_back(opening);
        return refused.error();
    }

    // It was not given after all.
    void put_back(const Opening& opening) {
        ShelfDevice& device = shelf.at(opening.name);
        device.holder = nullptr;
        // Whoever has what was never given from here must be known to the machine's owner.
        device.status =
            device.facts || !device.last || opening.is_vdpa ? DeviceStatus::free : DeviceStatus::settling;
    }

    // An iommufd for the client: its own, or its tenant's. The accounting is settled while there is nothing in it.
    Result<std::shared_ptr<core::Context>> open_iommufd(const Tenant& tenant) {
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

    void get(const Handle& client, Request request, Done done) {
        for (std::string& device : request.devices) device = vfio::full_name(device);
        auto job = std::make_shared<Job>(
            Job{.client = client, .request = std::move(request), .done = std::move(done)});
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

    Result<void> begin(Job& job) {
        Holder& client = *job.client;
        if (auto allowed = check(client, job.request); !allowed) return allowed;
        auto openings = reserve(client, job.request);
        if (!openings) return openings.error();
        job.openings = *std::move(openings);
        if (!job.request.iommufd || client.iommufd || client.shared_iommufd || options.iommufd) return {};
        auto opened = open_iommufd(*client.tenant);
        if (!opened) {
            for (const Opening& opening : job.openings) put_back(opening);
            return opened.error();
        }
        job.new_iommufd = *std::move(opened);
        return {};
    }

    void refuse(Job& job, const Error& error) {
        if (job.client->is_gone) return;
        tell(Outcome::refused, text(job.request), job.client.get(), error.line());
        job.done(error);
    }

    // In the broker's thread again, with the devices open, or not.
    void finish(Job& job) {
        for (const Opening& opening : job.openings)
            if (opening.facts) {
                ShelfDevice& device = shelf.at(opening.name);
                device.facts = *opening.facts ? std::optional(**opening.facts) : std::nullopt;
                if (device.facts) recovered(device);
            }
        auto given = take(job);
        if (given) return job.done(*std::move(given));
        for (const Opening& opening : job.openings) put_back(opening);
        job.new_iommufd.reset();
        refuse(job, given.error());
    }

    Result<Grant> take(Job& job) {
        Holder& client = *job.client;
        if (client.is_gone || !client.peer.is_alive())
            return Error::refused(ESRCH, "cannot serve this client", "it has ended meanwhile",
                                  "connect again");
        for (const Opening& opening : job.openings) {
            if (opening.file && !*opening.file) return opening.file->error();
            if (auto refusal = Shelf::refuses(shelf.at(opening.name), *client.tenant))
                return *std::move(refusal);
        }
        std::optional<int> shared;
        if (job.request.iommufd && options.iommufd) {
            auto number = options.iommufd();
            if (!number) return number.error();
            shared = *number;
        }
        if (job.request.memlock)
            if (auto allowed = client.peer.allow_locked(*job.request.memlock); !allowed)
                return allowed.error();

        if (shared) client.shared_iommufd = shared;
        if (job.new_iommufd) client.iommufd = std::move(job.new_iommufd);
        for (Opening& opening : job.openings) {
            ShelfDevice& device = shelf.at(opening.name);
            device.status = DeviceStatus::held;
            device.last = client.tenant;
            (opening.is_vdpa ? client.vdpa : client.vfio).emplace(opening.name, **std::move(opening.file));
        }
        tell(Outcome::given, text(job.request), &client);
        return grant(client, job.request);
    }

    Grant grant(const Holder& client, const Request& request) const {
        Grant grant;
        const auto put = [&](GivenKind kind, const std::string& name, int descriptor) {
            if (std::ranges::find(grant.answer.given, Given{kind, name}) != grant.answer.given.end()) return;
            grant.answer.given.push_back({kind, name});
            grant.descriptors.push_back(descriptor);
        };
        if (request.iommufd) {
            put(GivenKind::iommufd, "iommufd",
                client.iommufd ? client.iommufd->fd() : *client.shared_iommufd);
            if (client.shared_iommufd)
                grant.answer.notes.emplace_back(
                    "the iommufd is shared with the broker and its other clients");
            else if (client.tenant->trusted)
                grant.answer.notes.emplace_back("the iommufd is shared with the tenant's other clients");
        }
        for (const std::string& name : request.devices)
            put(GivenKind::vfio, name, client.vfio.at(name).number());
        for (const std::string& name : request.vdpa)
            put(GivenKind::vdpa, name, client.vdpa.at(name).number());
        return grant;
    }

    struct Leaving {
        std::vector<sys::Fd> files;
        std::shared_ptr<core::Context> iommufd;
        std::vector<std::string> names;
        std::vector<Result<DeviceFacts>> tried;
    };

    void release(const Handle& client) {
        if (std::exchange(client->is_gone, true)) return;
        std::erase(clients, client);
        if (!has_anything(*client)) return;
        tell(Outcome::returned, what_it_has(*client), client.get());
        auto leaving = std::make_shared<Leaving>();
        for (auto& [name, file] : client->vfio) {
            ShelfDevice& device = shelf.at(name);
            device.status = DeviceStatus::leaving;
            device.holder = nullptr;
            device.facts.reset();
            leaving->files.push_back(std::move(file));
            leaving->names.push_back(name);
        }
        for (auto& [name, file] : client->vdpa) {
            ShelfDevice& device = shelf.at(name);
            device.status = DeviceStatus::free;
            device.holder = nullptr;
        }
        client->vfio.clear();
        client->vdpa.clear();
        leaving->iommufd = std::move(client->iommufd);
        const bool is_last = leaving->iommufd.use_count() == 1;
        options.run(
            [leaving, is_last, &kernel = kernel] {
                take_back(std::move(leaving->files), is_last ? leaving->iommufd.get() : nullptr);
                leaving->iommufd.reset();
                for (const std::string& name : leaving->names)
                    leaving->tried.push_back(try_device(kernel, name));
            },
            [leaving, weak = weak_from_this()] {
                const auto self = weak.lock();
                if (!self) return;
                for (std::size_t i = 0; i < leaving->names.size(); ++i) {
                    ShelfDevice& device = self->shelf.at(leaving->names[i]);
                    device.patience_ends = Clock::now() + kPatience;
                    self->tried(device, leaving->tried[i]);
                }
            });
    }

    static std::string what_it_has(const Holder& client) {
        Request all{.iommufd = client.has_iommufd()};
        for (const auto& [name, file] : client.vfio) all.devices.push_back(name);
        for (const auto& [name, file] : client.vdpa) all.vdpa.push_back(name);
        return text(all);
    }

    void tried(ShelfDevice& device, const Result<DeviceFacts>& facts) {
        if (facts) {
            device.status = DeviceStatus::free;
            device.facts = *facts;
            return recovered(device);
        }
        device.status = device.is_tainted ? DeviceStatus::tainted : DeviceStatus::settling;
        if (device.is_tainted || Clock::now() < device.patience_ends) return;
        device.status = DeviceStatus::tainted;
        device.is_tainted = true;
        tell(Outcome::tainted, device.name, nullptr, facts.error().line());
    }

    void recovered(ShelfDevice& device) {
        if (std::exchange(device.is_tainted, false)) tell(Outcome::recovered, device.name, nullptr);
    }

    void retry_devices() {
        for (auto& [name, device] : shelf.all()) {
            if (device.status != DeviceStatus::settling && device.status != DeviceStatus::tainted) continue;
            device.status = DeviceStatus::trying;
            auto facts = std::make_shared<std::optional<Result<DeviceFacts>>>();
            options.run([facts, device_name = name, &on = kernel] { *facts = try_device(on, device_name); },
                        [facts, device_name = name, weak = weak_from_this()] {
                            if (const auto self = weak.lock())
                                self->tried(self->shelf.at(device_name), **facts);
                        });
        }
    }

    Options options;
    sys::Kernel& kernel;
    Shelf shelf;
    std::vector<Handle> clients;
    std::map<const Tenant*, std::weak_ptr<core::Context>> iommufds;
};

Broker::Broker(Options options) : state_(std::make_shared<State>(std::move(options))) {}
Broker::~Broker() = default;

std::shared_ptr<Holder> Broker::admit(Peer peer) {
    return state_->clients.emplace_back(std::make_shared<Holder>(std::move(peer)));
}

void Broker::get(const std::shared_ptr<Holder>& client, Request request, Done done) {
    state_->get(client, std::move(request), std::move(done));
}

void Broker::release(const std::shared_ptr<Holder>& client) { state_->release(client); }

void Broker::part_with_iommufd(const std::shared_ptr<Holder>& client) {
    client->has_parted = client->has_iommufd();
    client->iommufd.reset();
}

void Broker::retry_devices() { state_->retry_devices(); }

bool Broker::has_devices_to_retry() const noexcept {
    return std::ranges::any_of(state_->shelf.all(), [](const auto& entry) {
        return entry.second.status == DeviceStatus::settling || entry.second.status == DeviceStatus::tainted;
    });
}

bool Broker::has_anything(const Holder& client) noexcept {
    return client.has_iommufd() || !client.vfio.empty() || !client.vdpa.empty();
}

}  // namespace iommufd::inline v0_1::broker
