// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/broker.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "broker/rules.hpp"
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
    for (const std::string& device : request.devices)
        parts.push_back(compose(request.mediated ? "mediated " : "", object::quote(device)));
    for (const std::string& node : request.vdpa) parts.push_back(object::quote(node));
    if (request.memlock)
        parts.push_back(*request.memlock == kUnlimited
                            ? "unlimited locked memory"
                            : compose(size_text(*request.memlock), " of locked memory"));
    return parts.empty() ? "nothing" : object::joined(parts);
}

}  // namespace

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
        std::optional<Result<DeviceFacts>> facts = {};
        std::optional<Result<sys::Fd>> file = {};
        std::shared_ptr<MediatedSpace> space = {};  // to which it is attached then
        int attached = -1;                          // its descriptor there

        void open(sys::Kernel& on) {
            if (is_tried_first) facts = try_device(on, name);
            if (facts && !*facts)
                file = facts->error();
            else
                file = is_vdpa ? open_vdpa(on, name) : open_vfio(on, name);
            if (!space || !*file) return;
            auto descriptor = space->attach(name, **std::move(file));
            if (descriptor)
                attached = *descriptor;
            else
                file = descriptor.error();
        }
    };
    struct Job {
        Handle client;
        Request request;
        Done done;
        std::shared_ptr<core::Context> new_iommufd = {};
        std::shared_ptr<MediatedSpace> space = {};  // for a request that is mediated
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

    void tell(Outcome outcome, std::string what, const Holder* client, std::string why = {}) const {
        if (!options.journal) return;
        std::string who;
        if (client)
            who = client->tenant ? compose("'", client->tenant->name, "' (", client->who, ")") : client->who;
        options.journal({outcome, std::move(what), std::move(who), std::move(why)});
    }

    // What the policy and the books say, before anything is done.
    Result<void> check(Holder& client, const Request& request) {
        if (auto known = know(client); !known) return known;
        if (auto allowed = check_policy(client, request); !allowed) return allowed;
        if (options.iommufd)
            if (auto shareable = check_sharing(clients, client, request); !shareable) return shareable;
        return check_quotas(clients, client, request);
    }
    Result<void> know(Holder& client) const {
        if (client.tenant) return {};
        auto tenant = options.policy.find(client.peer);
        if (!tenant) return tenant.error();
        client.tenant = *tenant;
        return {};
    }

    // The devices that must be opened, marked in the books.
    Result<std::vector<Opening>> reserve(const Holder& client, const Request& request,
                                         const std::shared_ptr<MediatedSpace>& space) {
        std::vector<Opening> openings;
        const void* const holder = space ? static_cast<const void*>(space.get()) : &client;
        const auto put = [&](const std::string& name, bool is_vdpa) -> Result<void> {
            if (std::ranges::find(openings, name, &Opening::name) != openings.end()) return {};
            ShelfDevice& device = shelf.at(name);
            if (!is_vdpa) device.group = group_of(kernel, name);
            if (auto refusal = shelf.refuses(device, holder)) return *std::move(refusal);
            const bool is_tried_first = !is_vdpa && (!device.facts || device.status != DeviceStatus::free);
            openings.push_back(
                {.name = name, .is_vdpa = is_vdpa, .is_tried_first = is_tried_first, .space = space});
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

    // Whether the device is attached to that space already.
    bool is_joined(const std::string& name, const std::shared_ptr<MediatedSpace>& space) {
        const ShelfDevice& device = shelf.at(name);
        return space && device.holder == space.get() && device.status == DeviceStatus::held;
    }

    // In which the broker maps for the client: its own, or that of the device that it shares.
    Result<std::shared_ptr<MediatedSpace>> space_for(const Holder& client, const Request& request) {
        if (client.space) return client.space;
        const std::string& device = request.devices.front();
        const bool shares = is_shared(*client.tenant, device);
        if (shares)
            if (auto theirs = shared_spaces[device].lock(); theirs && is_joined(device, theirs))
                return theirs;
        return MediatedSpace::open(kernel, shares ? device : client.tenant->name);
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
        if (job->openings.empty()) return finish(*job);
        options.run(
            [job, &kernel = kernel] {
                for (Opening& opening : job->openings) {
                    opening.open(kernel);
                    if (!*opening.file) break;
                }
            },
            [job, weak = weak_from_this()] {
                if (const auto self = weak.lock()) self->finish(*job);
            });
    }

    Result<void> begin(Job& job) {
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
    // A call that worked on the client's space.
    void has_ended(const Handle& client) {
        if (std::exchange(client->is_busy, false) && client->is_gone) part_from(client);
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
        if (job.space) join(client, job);
        for (Opening& opening : job.openings) {
            ShelfDevice& device = shelf.at(opening.name);
            device.status = DeviceStatus::held;
            if (!job.space || (client.tenant->descriptors && !client.shares_space))
                device.last = client.tenant;
            if (job.space) continue;
            (opening.is_vdpa ? client.vdpa : client.vfio).emplace(opening.name, **std::move(opening.file));
        }
        tell(Outcome::given, text(job.request), &client);
        return grant(client, job.request);
    }

    void join(Holder& client, const Job& job) {
        if (!client.space) {
            client.space = job.space;
            client.shares_space = is_shared(*client.tenant, job.request.devices.front());
            ++client.space->clients;
            if (client.shares_space) shared_spaces[job.request.devices.front()] = client.space;
        }
        for (const std::string& name : job.request.devices) client.attached.try_emplace(name, -1);
        for (const Opening& opening : job.openings) client.attached[opening.name] = opening.attached;
    }

    static Grant mediated_grant(const Holder& client, const Request& request) {
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

    Grant grant(const Holder& client, const Request& request) const {
        if (request.mediated) return mediated_grant(client, request);
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

    struct Mapping {
        Handle client;
        MapRequest wanted;
        sys::Fd memory;
        Done done;
        std::optional<Result<Range>> range = {};
    };

    void map(const Handle& client, const MapRequest& wanted, sys::Fd memory, Done done) {
        auto job = std::make_shared<Mapping>(Mapping{
            .client = client, .wanted = wanted, .memory = std::move(memory), .done = std::move(done)});
        auto pinned = begin_mapping(*client, *job);
        if (!pinned) {
            refuse_mapping(*job, pinned.error());
            // Pages that nobody has any more may take long to free.
            if (job->memory) options.run([job] { (void)job->memory.close(); }, [] {});
            return;
        }
        client->pinning = *pinned;
        client->is_busy = true;
        options.run(
            [job] {
                const auto deadline =
                    Clock::now() + std::chrono::seconds(job->client->tenant->quotas.seconds);
                job->range = job->client->space->map(
                    job->memory.number(), job->wanted.part,
                    job->wanted.iova ? std::optional(Iova{*job->wanted.iova}) : std::nullopt, deadline);
                (void)job->memory.close();
            },
            [job, weak = weak_from_this()] {
                if (const auto self = weak.lock()) self->finish_mapping(*job);
            });
    }

    // How much it pins.
    Result<std::uint64_t> begin_mapping(Holder& client, const Mapping& job) const {
        if (auto known = know(client); !known) return known.error();
        if (!client.tenant->mediated)
            return cannot_give("memory that is mapped for it", EACCES,
                               compose("the policy doesn't allow it to '", client.tenant->name, "'"),
                               "ask for an iommufd, or change the policy");
        auto pinned = check_memory(job.memory.number(), job.wanted.part);
        if (!pinned) return pinned;
        if (auto allowed = check_mapping(clients, client, *pinned); !allowed) return allowed.error();
        return pinned;
    }

    void refuse_mapping(Mapping& job, const Error& error) {
        if (job.client->is_gone) return;
        tell(Outcome::refused, compose("a mapping of ", size_text(job.wanted.part.length)), job.client.get(),
             error.line());
        job.done(error);
    }

    void finish_mapping(Mapping& job) {
        Holder& client = *job.client;
        const std::uint64_t pinned = std::exchange(client.pinning, 0);
        if (*job.range) {
            client.mappings.push_back({**job.range, pinned});
            if (!client.is_gone) {
                tell(Outcome::given,
                     compose("a mapping of ", size_text(job.wanted.part.length), " at ",
                             Hex{(*job.range)->first.value}),
                     &client);
                client.is_busy = false;
                return job.done(Grant{.answer = {.mapped = **job.range}, .descriptors = {}});
            }
        } else {
            refuse_mapping(job, job.range->error());
        }
        has_ended(job.client);
    }

    void unmap(const Handle& client, const UnmapRequest& wanted, Done done) {
        const auto entry = std::ranges::find(client->mappings, Iova{wanted.iova},
                                             [](const Holder::Mapping& each) { return each.range.first; });
        if (entry == client->mappings.end())
            return done(Error::refused(ENOENT, "cannot unmap the client's memory",
                                       compose("it has mapped nothing that begins at ", Hex{wanted.iova}),
                                       "give an iova as it was answered"));
        client->is_busy = true;
        options.run([client, range = entry->range] { client->space->unmap(range); },
                    [client, range = entry->range, done = std::make_shared<Done>(std::move(done)),
                     weak = weak_from_this()] {
                        const auto self = weak.lock();
                        if (!self) return;
                        std::erase_if(client->mappings,
                                      [&](const Holder::Mapping& each) { return each.range == range; });
                        if (client->is_gone) return self->has_ended(client);
                        client->is_busy = false;
                        (*done)(Grant{.answer = {.unmapped = range}, .descriptors = {}});
                    });
    }

    struct Leaving {
        std::vector<sys::Fd> files;
        std::shared_ptr<core::Context> iommufd;
        std::shared_ptr<MediatedSpace> space;
        std::vector<Range> ranges;       // of what was mapped there
        std::vector<std::string> names;  // to be tried in the end
        Handle client;                   // which counts until then
        std::vector<Result<DeviceFacts>> tried;
    };

    void release(const Handle& client) {
        if (std::exchange(client->is_gone, true) || client->is_busy) return;
        part_from(client);
    }

    void leave(Leaving& leaving, const std::string& name) {
        ShelfDevice& device = shelf.at(name);
        device.status = DeviceStatus::leaving;
        device.holder = nullptr;
        device.facts.reset();
        leaving.names.push_back(name);
    }

    void part_from(const Handle& client) {
        if (!has_anything(*client)) {
            std::erase(clients, client);
            return;
        }
        tell(Outcome::returned, what_it_has(*client), client.get());
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

    void take_back_of(const std::shared_ptr<Leaving>& leaving) {
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
                for (const std::string& name : leaving->names)
                    leaving->tried.push_back(try_device(kernel, name));
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

    static std::string what_it_has(const Holder& client) {
        Request all{.iommufd = client.iommufd || client.shared_iommufd};
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
    std::map<std::string, std::weak_ptr<MediatedSpace>> shared_spaces;  // by their device
};

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

void Broker::retry_devices() { state_->retry_devices(); }

bool Broker::has_devices_to_retry() const noexcept {
    return std::ranges::any_of(state_->shelf.all(), [](const auto& entry) {
        return entry.second.status == DeviceStatus::settling || entry.second.status == DeviceStatus::tainted;
    });
}

bool Broker::has_anything(const Holder& client) noexcept { return client.has_anything(); }

}  // namespace iommufd::inline v0_1::broker
