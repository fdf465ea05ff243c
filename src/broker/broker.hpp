// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opens /dev/iommu and devices, and keeps the books of who has which of them.
//
//     client  --get()-->     refused, or a Grant: an iommufd for it alone, accounted to it, and devices
//             --release()--> devices reset and detached, everything unmapped, closed
//
//     mediated:  get() of devices -> a MediatedSpace for it alone, or for all that share one device;  map(), unmap() there
//
//     device:  free -> opening -> held -> leaving -> free
//                                             '----> tainted: somebody still has it -> free, when a bind works again
//
// A client is a connection. The IOMMU group is what is given: while a client has one of its devices, nobody else gets
// another. A device that can't be reset goes to no other client, unless a policy says so. What was given stays with the clients when the broker ends.
//
// Threads: one, that of the loop; what may take long is given to `run`.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/policy.hpp"
#include "broker/protocol.hpp"

namespace iommufd::inline v0_1::broker {

// What happened, for a journal: "refused 0000:02:00.0 to 'a' (uid 1000, ...): ...".
enum class Outcome : std::uint8_t { given, refused, returned, tainted, recovered };
std::string_view name(Outcome outcome) noexcept;
struct Record {
    Outcome outcome;
    std::string what;  // "iommufd, 0000:02:00.0"
    std::string who;   // "'a' (uid 1000, gid 1000, process 4711 'qemu')"; empty: nobody
    std::string why;   // empty: there is nothing to say

    std::string party =
        {};  // whose doing it is: "'a'", the tenant, or "uid 1000" of who is in none; empty: nobody's
    bool is_mapping = false;  // of a mediated client, which makes as many as it likes
};

// What a client has got: the broker's own descriptors, valid until release().
struct Grant {
    Answer answer;
    std::vector<int> descriptors;  // one for each that is given
};

class Holder;

class Broker {
public:
    using Work = std::move_only_function<void()>;
    // Does `work` somewhere, and `then` in the broker's thread, if that is still there.
    using Run = std::function<void(Work work, Work then)>;
    using Done = std::move_only_function<void(Result<Grant>)>;

    struct Options {
        Policy policy;
        sys::Kernel* kernel = nullptr;  // nothing: the machine's own
        std::function<void(const Record&)> journal = {};
        Run run = {};  // nothing: at once
        // The iommufd that all clients get, which then stays as it is when they leave; nothing: one is opened for each. Only a trusted
        // tenant gets it, and only one at a time.
        std::function<Result<int>()> iommufd = {};
    };

    explicit Broker(Options options);
    // Closes what it has. Clients keep what they were given.
    ~Broker();
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    // Somebody has connected. Who it may be shows when it asks.
    std::shared_ptr<Holder> admit(Peer peer);
    // All that is asked for, or an error and nothing. EACCES: the policy doesn't allow it; EBUSY: another client has it; EDQUOT; ESRCH: the
    // client has ended; else what opening says. One call at a time for a client. `done` isn't called when the client was
    // released meanwhile.
    void get(const std::shared_ptr<Holder>& client, Request request, Done done);
    // Maps a part of a memfd in the client's mediated space; `memory` may be empty, where what it sent was none. What get() and
    // check_memory() say besides: ENODEV: the client has no mediated device; EEXIST, ENOSPC, ETIMEDOUT: see MediatedSpace::map().
    void map(const std::shared_ptr<Holder>& client, const MapRequest& wanted, sys::Fd memory, Done done);
    // ENOENT: the client has mapped nothing that begins there.
    void unmap(const std::shared_ptr<Holder>& client, const UnmapRequest& wanted, Done done);
    // Of a mediated client: memory is unmapped, then devices are detached and reset.
    void release(const std::shared_ptr<Holder>& client);
    // The iommufd that the client has been given stays with it for good: the broker closes its own, and destroys nothing of it when the
    // client is released, until when it counts for the quotas.
    void part_with_iommufd(const std::shared_ptr<Holder>& client);

    // Whether it is a client for which the broker maps, so that its descriptors should be taken in.
    bool may_send_memory(const std::shared_ptr<Holder>& client);

    // Tries again to have those devices that somebody still has after their client left. To be called every now and then while
    // there are any.
    void retry_devices();
    bool has_devices_to_retry() const noexcept;
    // Whether the client has been given something.
    static bool has_anything(const Holder& client) noexcept;

private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::broker
