// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <algorithm>
#include <cerrno>
#include <utility>

#include "broker/state.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::broker {

void Broker::State::map(const Handle& client, const MapRequest& wanted, sys::Fd memory, Done done) {
    auto job = std::make_shared<Mapping>(
        Mapping{.client = client, .wanted = wanted, .memory = std::move(memory), .done = std::move(done)});
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
                MediatedSpace::Clock::now() + std::chrono::seconds(job->client->tenant->quotas.seconds);
            job->range = job->client->space->map(
                job->memory.number(), job->wanted.part,
                job->wanted.iova ? std::optional(Iova{*job->wanted.iova}) : std::nullopt, deadline);
            (void)job->memory.close();
        },
        [job, weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->finish_mapping(*job);
        });
}

Result<std::uint64_t> Broker::State::begin_mapping(Holder& client, const Mapping& job) const {
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

void Broker::State::refuse_mapping(Mapping& job, const Error& error) {
    if (job.client->is_gone) return;
    tell({.outcome = Outcome::refused,
          .what = compose("a mapping of ", size_text(job.wanted.part.length)),
          .who = {},
          .why = error.line(),
          .is_mapping = true},
         job.client.get());
    job.done(error);
}

void Broker::State::finish_mapping(Mapping& job) {
    Holder& client = *job.client;
    const std::uint64_t pinned = std::exchange(client.pinning, 0);
    if (*job.range) {
        client.mappings.push_back({**job.range, pinned});
        if (!client.is_gone) {
            tell({.outcome = Outcome::given,
                  .what = compose("a mapping of ", size_text(job.wanted.part.length), " at ",
                                  Hex{(*job.range)->first.value}),
                  .who = {},
                  .why = {},
                  .is_mapping = true},
                 &client);
            client.is_busy = false;
            return job.done(Grant{.answer = {.mapped = **job.range}, .descriptors = {}});
        }
    } else {
        refuse_mapping(job, job.range->error());
    }
    has_ended(job.client);
}

void Broker::State::unmap(const Handle& client, const UnmapRequest& wanted, Done done) {
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

}  // namespace iommufd::inline v0_1::broker
