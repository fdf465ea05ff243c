// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/monitor.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "monitor/session.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

bool is_device(std::string_view type) {
    const object::TypeInfo* const known = object::find_type(type);
    return known && known->option == object::Option::device;
}

std::chrono::microseconds now(const Monitor::Options& options) {
    if (options.clock) return options.clock();
    return std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::system_clock::now().time_since_epoch());
}

}  // namespace

Monitor::Monitor(object::Registry& registry, Options options)
    : registry_(registry), options_(std::move(options)) {}
Monitor::~Monitor() = default;

void Monitor::send_event(std::string_view name, Json data) {
    constexpr std::int64_t kSecond = 1'000'000;
    const std::int64_t time = now(options_).count();
    const Json event =
        Json::of("timestamp", Json::of("seconds", time / kSecond, "microseconds", time % kSecond), "event",
                 name, "data", std::move(data));
    const std::string line = event.write();
    for (Session* const session : sessions_) session->tell(line);
}

Result<void> Monitor::create(const object::Definition& definition, const std::function<void()>& begins) {
    auto created = registry_.create(std::span(&definition, 1), begins);
    if (created && is_device(definition.type) && options_.device_added) options_.device_added(definition.id);
    return created;
}

Result<void> Monitor::remove(const std::string& id) {
    if (dirty_logs_.contains(id))
        return Error::refused(EBUSY, compose("cannot delete '", id, "'"), "its dirty log runs",
                              "stop it first: dirty-log-stop");
    const auto objects = registry_.list();
    const auto found = std::ranges::find(
        objects, id, [](const object::ObjectInfo& info) -> const std::string& { return info.definition.id; });
    const bool device = found != objects.end() && is_device(found->definition.type);
    if (device && options_.device_leaves) options_.device_leaves(id);
    auto removed = registry_.remove(id);
    const bool is_gone = !registry_.find(id);
    if (device && !is_gone && options_.device_added) options_.device_added(id);
    if (device && is_gone) send_event("DEVICE_DELETED", Json::of("device", id, "path", device_path(id)));
    return removed;
}

void Monitor::shut_down(std::string_view reason) {
    send_event("SHUTDOWN", Json::of("guest", false, "reason", reason));
}

void Monitor::tell_unplug_request(const std::string& id) {
    send_event("DEVICE_UNPLUG_REQUEST", Json::of("device", id, "path", device_path(id)));
}

void Monitor::tell_device_error(const std::string& id) {
    send_event("DEVICE_ERROR", Json::of("device", id, "path", device_path(id)));
}

bool Monitor::has_passed(int descriptor) const noexcept {
    return std::ranges::any_of(
        sessions_, [&](const Session* session) { return session->descriptors().has(descriptor); });
}

std::string path_of(const object::Definition& definition) {
    return is_device(definition.type) ? device_path(definition.id) : compose("/objects/", definition.id);
}

std::string device_path(std::string_view id) { return compose("/machine/peripheral/", id); }

}  // namespace iommufd::inline v0_1::monitor
