// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the clients of a control socket share: the objects, the events, and the dirty logs that they started.
//
//     Registry <-- Monitor <-- Session   a client: bytes in, bytes out
//                         <-- Session
//
// Threads: one at a time, for a monitor and all its sessions.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/core/fault_queue.hpp"
#include "iommufd/dma/dirty_log.hpp"
#include "iommufd/object/registry.hpp"
#include "monitor/answer.hpp"
#include "monitor/rate_limit.hpp"

namespace iommufd::inline v0_1::monitor {

class Session;

struct Version {
    unsigned major = 0;
    unsigned minor = 0;
    unsigned micro = 0;
    std::string package;
};

struct RunningLog {
    dma::DirtyLog log;
    std::vector<Range> untold =
        {};  // what a sync found and no answer has told, since there was no memory for one
};

class Monitor {
public:
    struct Options {
        Version version = {};
        std::function<void()> quit = {};  // the command; called once its event is out
        // A device has come, or is about to be closed; one that could not be comes again.
        std::function<void(const std::string& id)> device_added = {};
        std::function<void(const std::string& id)> device_leaves = {};
        // Since 1970; nothing: the system's clock.
        std::function<std::chrono::microseconds()> clock = {};
        // The words of an event of faults that no client has heard.
        std::function<void(const std::string& line)> unheard = {};
        // For limits; nothing: the system's.
        std::function<RateLimit::Time()> steady_clock = {};
    };
    // How many faults of a space are told in a second, at most.
    static constexpr std::uint64_t kMostFaults = 64;
    static constexpr std::chrono::seconds kFaultPeriod{1};

    // The registry must outlive it, and is not to be cleared before it goes.
    Monitor(object::Registry& registry, Options options);
    ~Monitor();
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    object::Registry& registry() const noexcept { return registry_; }
    const Options& options() const noexcept { return options_; }

    // To every client that has finished its negotiation.
    void send_event(std::string_view name, Json data);

    // `begins`: see object::Registry::create().
    Result<void> create(const object::Definition& definition, const std::function<void()>& begins);
    // EBUSY: a dirty log runs on it. Of a device, DEVICE_DELETED is sent.
    Result<void> remove(const std::string& id);

    // Sends SHUTDOWN, for the reason "host-qmp-quit" or "host-signal".
    void shut_down(std::string_view reason);
    // The kernel asks for the device back: DEVICE_UNPLUG_REQUEST. It has reported an error: DEVICE_ERROR.
    void tell_unplug_request(const std::string& id);
    void tell_device_error(const std::string& id);

    // Reads what devices of a space with faults=on ask for, answers that there is none, and tells of it: IOMMU_FAULT. What
    // is beyond kMostFaults in a second, or no memory was there to tell, is answered too, and counted: IOMMU_FAULTS_LOST, by the
    // first call after that second. Returns when that is due. ENOMEM: requests stay in their queue, and devices wait.
    Result<std::optional<RateLimit::Time>> serve_faults(const std::string& space);
    // Nothing of the space is served any more: tells how many were left out.
    void end_faults(const std::string& space);

    // By the id of their space.
    std::map<std::string, RunningLog, std::less<>>& dirty_logs() noexcept { return dirty_logs_; }

    // Whether a client has passed this descriptor and not given it to an object.
    bool has_passed(int descriptor) const noexcept;

private:
    friend class Session;

    void send_fault_event(std::string_view name, Json data, const std::string& line);
    void tell_fault(const std::string& space, const core::PageFault& fault);
    void tell_lost_faults(const std::string& space, std::uint64_t count);
    RateLimit::Time steady_now() const;

    object::Registry& registry_;
    const Options options_;
    std::vector<Session*> sessions_;
    std::map<std::string, RunningLog, std::less<>> dirty_logs_;
    std::map<std::string, RateLimit, std::less<>> fault_limits_;  // by the id of their space
};

// "/machine/peripheral/nvme0", "/objects/iommufd0"
std::string path_of(const object::Definition& definition);
std::string device_path(std::string_view id);

}  // namespace iommufd::inline v0_1::monitor
