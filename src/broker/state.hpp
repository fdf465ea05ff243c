// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The broker's books, and what it does with them: broker.cpp gives, mapping.cpp maps, leaving.cpp takes back.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/broker.hpp"
#include "broker/rules.hpp"
#include "broker/shelf.hpp"

namespace iommufd::inline v0_1::broker {

struct Broker::State : std::enable_shared_from_this<Broker::State> {
    using Handle = std::shared_ptr<Holder>;

    // A device that is opened for a request, somewhere else.
    struct Opening {
        std::string name;
        bool is_vdpa;
        std::optional<Result<sys::Fd>> file = {};  // already there: it was tried before
        std::optional<Result<DeviceFacts>> facts = {};
        std::shared_ptr<MediatedSpace> space = {};  // to which it is attached then
        int attached = -1;                          // its descriptor there

        bool takes_long() const noexcept { return !file || space; }
        void open(sys::Kernel& on) {
            if (!file && is_vdpa) {
                file = open_vdpa(on, name);
            } else if (!file) {
                facts = try_device(on, name);
                file = *facts ? open_vfio(on, name, **facts) : facts->error();
            }
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

    struct Mapping {
        Handle client;
        MapRequest wanted;
        sys::Fd memory;
        Done done;
        std::optional<Result<Range>> range = {};
    };

    struct Leaving {
        std::vector<sys::Fd> files;
        std::shared_ptr<core::Context> iommufd;
        std::shared_ptr<MediatedSpace> space;
        std::vector<Range> ranges;       // of what was mapped there
        std::vector<std::string> names;  // to be tried in the end
        Handle client;                   // which counts until then
        std::vector<Result<DeviceFacts>> tried;
    };

    explicit State(Options its)
        : options(std::move(its)), kernel(options.kernel ? *options.kernel : sys::host_kernel()) {
        if (!options.run)
            options.run = [](Work work, Work then) {
                work();
                then();
            };
    }

    // `who` and `party` are the client's; null: nobody's.
    void tell(Record record, Holder* client) const;
    // What the policy and the books say, before anything is done.
    Result<void> check(Holder& client, const Request& request);
    Result<void> know(Holder& client) const;
    // The devices that must be opened, marked in the books.
    Result<std::vector<Opening>> reserve(const Holder& client, const Request& request,
                                         const std::shared_ptr<MediatedSpace>& space);
    // Whether the device is attached to that space already.
    bool is_joined(const std::string& name, const std::shared_ptr<MediatedSpace>& space);
    // In which the broker maps for the client: its own, or that of the device that it shares.
    Result<std::shared_ptr<MediatedSpace>> space_for(const Holder& client, const Request& request);
    // It was not given after all.
    void put_back(const Opening& opening);
    // An iommufd for the client: its own, or its tenant's. The accounting is settled while there is nothing in it.
    Result<std::shared_ptr<core::Context>> open_iommufd(const Tenant& tenant);
    void get(const Handle& client, Request request, Done done);
    Result<void> begin(Job& job);
    void refuse(Job& job, const Error& error);
    // In the broker's thread again, with the devices open, or not.
    void finish(Job& job);
    Result<Grant> take(Job& job);
    void join(Holder& client, const Job& job);
    static Grant mediated_grant(const Holder& client, const Request& request);
    Grant grant(const Holder& client, const Request& request) const;

    // Mapping.
    void map(const Handle& client, const MapRequest& wanted, sys::Fd memory, Done done);
    // How much it pins.
    Result<std::uint64_t> begin_mapping(Holder& client, const Mapping& job) const;
    void refuse_mapping(Mapping& job, const Error& error);
    void finish_mapping(Mapping& job);
    void unmap(const Handle& client, const UnmapRequest& wanted, Done done);

    // Leaving.
    void release(const Handle& client);
    void leave(Leaving& leaving, const std::string& name);
    void part_from(const Handle& client);
    void take_back_of(const std::shared_ptr<Leaving>& leaving);
    static std::string what_it_has(const Holder& client);
    void tried(ShelfDevice& device, const Result<DeviceFacts>& facts);
    void recovered(ShelfDevice& device);
    void retry_devices();
    // A call that worked on the client's space.
    void has_ended(const Handle& client);

    Options options;
    sys::Kernel& kernel;
    Shelf shelf;
    std::vector<Handle> clients;
    std::map<const Tenant*, std::weak_ptr<core::Context>> iommufds;
    std::map<std::string, std::weak_ptr<MediatedSpace>> shared_spaces;  // by their device
};

// "iommufd, '0000:02:00.0'".
std::string text(const Request& request);

}  // namespace iommufd::inline v0_1::broker
