// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// query-iommufd, query-address-spaces, query-devices
#include <algorithm>

#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/vdpa/device.hpp"
#include "iommufd/vfio/device.hpp"
#include "monitor/commands.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

// Calls visit(info, handle) for each object of that kind.
template <class Kind, class Visit>
void for_each(const Call& call, Visit&& visit) {
    for (const object::ObjectInfo& info : call.monitor.registry().list())
        if (const auto handle = call.monitor.registry().get<Kind>(info.definition.id)) visit(info, **handle);
}

std::string_view name_of(dma::MappingState state) {
    switch (state) {
        case dma::MappingState::planned:
            return "planned";
        case dma::MappingState::mapped:
            return "mapped";
        case dma::MappingState::unreached:
            return "unreached";
        case dma::MappingState::busy:
            return "busy";
        case dma::MappingState::stuck:
            return "stuck";
    }
    return {};
}

Json list_of(const std::vector<NotReleased>& things) {
    Json list(Json::Array{});
    for (const NotReleased& thing : things)
        list.push_back(Json::of("object", thing.object, "operation", name(thing.operation), "errno",
                                errno_name(thing.code)));
    return list;
}

Json describe(const object::ObjectInfo& info, const Backend& backend) {
    Json described = Json::of("id", info.definition.id, "open", backend.is_open(), "owner",
                              backend.is_given() ? "given" : "object", "users", backend.users(), "references",
                              backend.references(), "used-by", info.used_by, "notices", backend.notices(),
                              "not-released", list_of(backend.not_released()));
    // To ask a closed node would open it.
    if (!backend.is_open()) return described;
    if (const auto accounting = backend.accounting()) described.add("accounting", name(*accounting));
    if (const auto capabilities = backend.capabilities()) {
        Json names(Json::Array{});
        for (const Operation operation : Capabilities::all())
            if (capabilities->has(operation)) names.push_back(name(operation));
        described.add("capabilities", std::move(names));
    }
    return described;
}

Json describe(const dma::MappingInfo& mapping) {
    return Json::of("iova", mapping.range.first.value, "size", mapping.range.length(), "memory",
                    mapping.memory, "offset", mapping.offset, "readonly", !may_write(mapping.access),
                    "granule", mapping.granule, "state", name_of(mapping.state));
}

Json describe(const dma::Space::Counters& counters) {
    return Json::of("mapped-bytes", counters.mapped, "pinned-bytes", counters.pinned, "maps-by-file",
                    counters.mapped_by_file, "maps-by-address", counters.mapped_by_address, "maps-by-copy",
                    counters.mapped_by_copy, "unmaps", counters.unmapped, "time-ns", counters.time.count(),
                    "pages-of-1g", counters.pages_of_1_gib, "pages-of-2m", counters.pages_of_2_mib,
                    "small-pages", counters.small_pages);
}

Json describe(const Call& call, const object::ObjectInfo& info, const dma::Space& space) {
    Json mappings(Json::Array{});
    for (const dma::MappingInfo& mapping : space.mappings()) mappings.push_back(describe(mapping));
    Json described = Json::of("id", info.definition.id);
    if (const std::string* const iommufd = info.definition.find("iommufd"))
        described.add("iommufd", *iommufd);
    if (const auto ioas = space.ioas()) described.add("ioas", ioas->value);
    described.add("devices", space.devices());
    described.add("sinks", space.sinks());
    described.add("used-by", info.used_by);
    Json reachable(Json::Array{});
    for (const Range& range : space.limits().ranges)
        reachable.push_back(Json::of("first", range.first.value, "last", range.last.value));
    described.add("reachable", std::move(reachable));
    described.add("mappings", std::move(mappings));
    described.add("counters", describe(space.counters()));
    described.add("dirty-log", call.monitor.dirty_logs().contains(info.definition.id));
    described.add("not-released", list_of(space.not_released()));
    return described;
}

Json describe(const object::ObjectInfo& info) {
    Json described = Json::of("id", info.definition.id, "driver", info.definition.type, "path",
                              device_path(info.definition.id));
    for (const char* const key : {"iommufd", "space"})
        if (const std::string* const value = info.definition.find(key)) described.add(key, *value);
    return described;
}

}  // namespace

Answer query_iommufd(const Call& call) {
    Json list(Json::Array{});
    for_each<Backend>(call, [&](const object::ObjectInfo& info, const Backend& backend) {
        list.push_back(describe(info, backend));
    });
    return list;
}

Answer query_address_spaces(const Call& call) {
    const Json* const one = call.find("id");
    Json list(Json::Array{});
    for_each<dma::Space>(call, [&](const object::ObjectInfo& info, const dma::Space& space) {
        if (!one || *one->text() == info.definition.id) list.push_back(describe(call, info, space));
    });
    if (one && list.array()->empty())
        return refuse_device(compose("Address space '", *one->text(), "' not found"));
    return list;
}

Answer query_devices(const Call& call) {
    Json list(Json::Array{});
    for_each<vfio::Device>(call, [&](const object::ObjectInfo& info, const vfio::Device& device) {
        Json described = describe(info);
        described.add("name", device.name());
        described.add("device-id", device.id().value);
        described.add("translated", device.info().translated);
        described.add("resets", device.info().resets);
        list.push_back(std::move(described));
    });
    for_each<vdpa::Device>(call, [&](const object::ObjectInfo& info, const vdpa::Device& device) {
        Json described = describe(info);
        described.add("name", device.name());
        described.add("virtio-id", device.device_id());
        described.add("uses-addresses", device.uses_addresses());
        list.push_back(std::move(described));
    });
    return list;
}

}  // namespace iommufd::inline v0_1::monitor
