// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// IOMMU_FAULT, IOMMU_FAULTS_LOST
#include <algorithm>
#include <new>

#include "error/compose.hpp"
#include "iommufd/vfio/device.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "monitor/monitor.hpp"
#include "monitor/session.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

// The id of a device in that space; empty: it has gone.
std::string id_of(const object::Registry& registry, std::string_view space, std::uint32_t device_id) {
    for (const object::ObjectInfo& info : registry.list()) {
        const std::string* const its_space = info.definition.find("space");
        if (!its_space || *its_space != space) continue;
        const auto device = registry.get<vfio::Device>(info.definition.id);
        if (device && (*device)->id().value == device_id) return info.definition.id;
    }
    return {};
}

std::vector<std::string> permissions_of(const core::PageFault& fault) {
    std::vector<std::string> words;
    if (fault.reads()) words.emplace_back("read");
    if (fault.writes()) words.emplace_back("write");
    if (fault.executes()) words.emplace_back("execute");
    if (fault.privileged()) words.emplace_back("privileged");
    return words;
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += compose(text.empty() ? "" : "+", word);
    return text;
}

}  // namespace

RateLimit::Time Monitor::steady_now() const {
    return options_.steady_clock ? options_.steady_clock() : std::chrono::steady_clock::now();
}

void Monitor::send_fault_event(std::string_view name, Json data, const std::string& line) {
    const bool is_heard = std::ranges::any_of(sessions_, [](const Session* session) {
        return !session->is_negotiating() && !session->is_broken();
    });
    send_event(name, std::move(data));
    if (!is_heard && options_.unheard) options_.unheard(line);
}

void Monitor::tell_fault(const std::string& space, const core::PageFault& fault) {
    const std::string device = id_of(registry_, space, fault.device);
    const auto permissions = permissions_of(fault);
    Json data = Json::of("space", space);
    if (!device.empty()) {
        data.add("device", device);
        data.add("path", device_path(device));
    }
    if (fault.has_pasid()) data.add("pasid", fault.pasid);
    data.add("iova", fault.address);
    data.add("permissions", permissions);
    data.add("group", fault.group);
    const std::string line = compose("'", device.empty() ? compose("device ", fault.device) : device, "'",
                                     fault.has_pasid() ? compose(" (PASID ", fault.pasid, ")") : "",
                                     " asks for ", Hex{fault.address}, " (", joined(permissions), ", group ",
                                     fault.group, "), where nothing is mapped in '", space, "'");
    send_fault_event("IOMMU_FAULT", std::move(data), line);
}

void Monitor::tell_lost_faults(const std::string& space, std::uint64_t count) {
    send_fault_event("IOMMU_FAULTS_LOST", Json::of("space", space, "count", count),
                     compose(count, count == 1 ? " more fault" : " more faults", " in '", space,
                             "' answered and not told"));
}

Result<std::optional<RateLimit::Time>> Monitor::serve_faults(const std::string& space) {
    const viommu::PageRequests* const requests = registry_.page_requests(space);
    if (!requests) return std::optional<RateLimit::Time>();
    auto groups = requests->read();
    if (!groups) return groups.error();
    const auto now = steady_now();
    RateLimit& limit = fault_limits_.try_emplace(space, kMostFaults, kFaultPeriod).first->second;
    if (const std::uint64_t lost = limit.left_out(now); lost != 0) tell_lost_faults(space, lost);
    for (const viommu::Group& group : *groups)
        for (const core::PageFault& fault : group.faults()) {
            if (!limit.takes(now)) continue;
            try {
                tell_fault(space, fault);
            } catch (const std::bad_alloc&) {
                limit.lose();
            }
        }
    if (auto answered = requests->answer(*groups, core::Response::invalid); !answered)
        return answered.error();
    return limit.due();
}

void Monitor::end_faults(const std::string& space) {
    const auto limit = fault_limits_.find(space);
    if (limit == fault_limits_.end()) return;
    const std::uint64_t lost = limit->second.take_left_out();
    fault_limits_.erase(limit);
    if (lost != 0) tell_lost_faults(space, lost);
}

}  // namespace iommufd::inline v0_1::monitor
