// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/config.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "broker/protocol.hpp"
#include "error/compose.hpp"
#include "object/notation.hpp"
#include "object/words.hpp"
#include "sys/kernel.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using Json = nlohmann::json;

// Goes through a document; the first thing that is wrong ends it.
class Reader {
public:
    Result<Config> read(const Json& document) {
        bool has_tenants = false;
        object("the configuration", document,
               {{"socket", [&](const Json& value) { text("socket", value, config_.socket.path); }},
                {"mode", [&](const Json& value) { mode("mode", value, config_.socket.mode); }},
                {"kubevirt",
                 [&](const Json& value) {
                     SocketPlace& place = config_.kubevirt;
                     object("kubevirt", value,
                            {{"socket", [&](const Json& path) { text("kubevirt.socket", path, place.path); }},
                             {"mode", [&](const Json& bits) { mode("kubevirt.mode", bits, place.mode); }}});
                     if (place.path.empty()) fail("kubevirt", "has no socket");
                 }},
                {"tenants", [&](const Json& value) {
                     has_tenants = true;
                     list("tenants", value,
                          [&](const std::string& where, const Json& entry) { tenant(where, entry); });
                 }}});
        if (!has_tenants) fail("tenants", "are missing: if nobody is to get anything, say \"tenants\": []");
        if (!wrong_) return std::move(config_);
        return Error::refused(EINVAL, "cannot read the configuration", *wrong_,
                              "docs/broker.md describes it");
    }

private:
    using Members = std::initializer_list<std::pair<std::string_view, std::function<void(const Json&)>>>;

    void fail(std::string_view where, std::string_view what) {
        if (!wrong_) wrong_ = compose(where, " ", what);
    }
    void object(std::string_view where, const Json& value, Members members) {
        if (!value.is_object()) return fail(where, "is no object");
        for (const auto& [name, member] : value.items()) {
            const auto known =
                std::ranges::find(members, name, [](const auto& entry) { return entry.first; });
            if (known != members.end()) {
                known->second(member);
                continue;
            }
            std::vector<std::string> names;
            for (const auto& entry : members) names.emplace_back(entry.first);
            return fail(where, compose("has no ", object::quote(name), ": its members are ",
                                       object::list_text(names, "and")));
        }
    }
    void list(std::string_view where, const Json& value,
              const std::function<void(const std::string&, const Json&)>& read) {
        if (!value.is_array()) return fail(where, "is no list");
        std::size_t index = 0;
        for (const Json& entry : value) read(compose(where, "[", index++, "]"), entry);
    }
    void text(std::string_view where, const Json& value, std::string& to) {
        if (!value.is_string() || value.get_ref<const std::string&>().empty())
            return fail(where, "is no text");
        to = value.get<std::string>();
    }
    void flag(std::string_view where, const Json& value, bool& to) {
        if (!value.is_boolean()) return fail(where, "is neither true nor false");
        to = value.get<bool>();
    }
    template <class Number>
    void number(std::string_view where, const Json& value, Number& to) {
        if (!value.is_number_unsigned() ||
            value.get<std::uint64_t>() > std::numeric_limits<Number>::max() - 1)
            return fail(where, "is no number that makes sense");
        to = static_cast<Number>(value.get<std::uint64_t>());
    }
    void size(std::string_view where, const Json& value, std::uint64_t& to) {
        if (value.is_number_unsigned()) {
            to = value.get<std::uint64_t>();
            return;
        }
        const auto read =
            value.is_string() ? object::read_size(value.get_ref<const std::string&>()) : std::nullopt;
        if (value == "unlimited")
            to = kUnlimited;
        else if (read)
            to = *read;
        else
            fail(where, "is neither a size such as 64G nor unlimited");
    }
    void mode(std::string_view where, const Json& value, mode_t& to) {
        std::string digits;
        text(where, value, digits);
        unsigned bits = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits, 8);
        if (error != std::errc() || end != digits.data() + digits.size() || bits > 0777)
            return fail(where, "is none, such as 0660");
        to = bits;
    }

    void tenant(const std::string& where, const Json& value) {
        Tenant tenant;
        const auto at = [&](std::string_view member) { return compose(where, ".", member); };
        const auto texts = [&](std::string_view member, std::vector<std::string>& to) {
            return [this, at, member, &to](const Json& entries) {
                list(at(member), entries, [&](const std::string& here, const Json& entry) {
                    text(here, entry, to.emplace_back());
                });
            };
        };
        object(
            where, value,
            {{"name", [&](const Json& name) { text(at("name"), name, tenant.name); }},
             {"peers",
              [&](const Json& peers) {
                  list(at("peers"), peers, [&](const std::string& here, const Json& entry) {
                      tenant.peers.push_back(peer(here, entry));
                  });
              }},
             {"iommufd", [&](const Json& on) { flag(at("iommufd"), on, tenant.iommufd); }},
             {"devices", texts("devices", tenant.devices)},
             {"vdpa", texts("vdpa", tenant.vdpa)},
             {"mediated", [&](const Json& on) { flag(at("mediated"), on, tenant.mediated); }},
             {"descriptors", [&](const Json& on) { flag(at("descriptors"), on, tenant.descriptors); }},
             {"shared", texts("shared", tenant.shared)},
             {"trusted", [&](const Json& on) { flag(at("trusted"), on, tenant.trusted); }},
             {"unreset", [&](const Json& on) { flag(at("unreset"), on, tenant.unreset); }},
             {"accounting",
              [&](const Json& mode) {
                  if (mode != "process" && mode != "user")
                      fail(at("accounting"), "is neither process nor user");
                  tenant.accounted_per_user = mode == "user";
              }},
             {"memlock", [&](const Json& bytes) { size(at("memlock"), bytes, tenant.memlock); }},
             {"quotas", [&](const Json& quotas) {
                  object(
                      at("quotas"), quotas,
                      {{"clients",
                        [&](const Json& most) { number(at("clients"), most, tenant.quotas.clients); }},
                       {"devices",
                        [&](const Json& most) { number(at("devices"), most, tenant.quotas.devices); }},
                       {"iommufds",
                        [&](const Json& most) { number(at("iommufds"), most, tenant.quotas.iommufds); }},
                       {"pinned", [&](const Json& most) { size(at("pinned"), most, tenant.quotas.pinned); }},
                       {"mappings",
                        [&](const Json& most) { number(at("mappings"), most, tenant.quotas.mappings); }},
                       {"seconds",
                        [&](const Json& most) { number(at("seconds"), most, tenant.quotas.seconds); }}});
              }}});
        if (tenant.name.empty()) fail(where, "has no name");
        if (tenant.peers.empty()) fail(where, "has no peers: nobody is its client");
        if (std::ranges::find(config_.policy.tenants, tenant.name, &Tenant::name) !=
            config_.policy.tenants.end())
            fail(where, "has the name of another one");
        if (!tenant.mediated && (tenant.descriptors || !tenant.shared.empty()))
            fail(where, "has members that need \"mediated\": true");
        for (std::string& device : tenant.devices) device = vfio::full_name(device);
        for (std::string& device : tenant.shared) {
            device = vfio::full_name(device);
            if (std::ranges::find(tenant.devices, device) != tenant.devices.end())
                fail(at("shared"), compose("has ", device, ", which is also in devices"));
        }
        config_.policy.tenants.push_back(std::move(tenant));
    }

    PeerRule peer(const std::string& where, const Json& value) {
        PeerRule rule;
        object(where, value,
               {{"uid", [&](const Json& id) { number(compose(where, ".uid"), id, rule.user.emplace()); }},
                {"gid", [&](const Json& id) { number(compose(where, ".gid"), id, rule.group.emplace()); }},
                {"unit", [&](const Json& name) { text(compose(where, ".unit"), name, rule.unit); }},
                {"cgroup", [&](const Json& path) { text(compose(where, ".cgroup"), path, rule.cgroup); }}});
        if (!rule.user && !rule.group && rule.unit.empty() && rule.cgroup.empty())
            fail(where, "says nothing: give it a uid, gid, unit or cgroup");
        if (!rule.cgroup.empty() &&
            (!rule.cgroup.starts_with('/') || (rule.cgroup.size() > 1 && rule.cgroup.ends_with('/'))))
            fail(where, "has a cgroup that is no path such as /machine.slice");
        return rule;
    }

    Config config_;
    std::optional<std::string> wrong_;
};

Error unreadable(std::string cause) {
    return Error::refused(EINVAL, "cannot read the configuration", std::move(cause),
                          "mend it; docs/broker.md describes it");
}

}  // namespace

Result<Config> read_config(std::string_view text) {
    Json document;
    try {
        document = Json::parse(text);
    } catch (const Json::parse_error& error) {
        return unreadable(compose("it is no JSON: byte ", error.byte, " is not expected there"));
    } catch (const Json::out_of_range&) {
        return unreadable("it has a number that is too large");
    }
    return Reader().read(document);
}

Result<Config> read_config_file(const std::string& path) {
    std::string content;
    if (const int result = sys::host_kernel().read_file(path.c_str(), content); result < 0)
        return Error::refused(-result, compose("cannot read ", object::quote(path)), std::strerror(-result),
                              "give the path of the configuration");
    auto config = read_config(content);
    if (!config) return config.error().within(compose("cannot use ", object::quote(path)));
    return config;
}

}  // namespace iommufd::inline v0_1::broker
