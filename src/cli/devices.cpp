// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/devices.hpp"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cli/arguments.hpp"
#include "cli/device_list.hpp"
#include "cli/fail.hpp"
#include "cli/hardware_names.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

Json known(const std::string& text) { return text.empty() ? Json() : Json(text); }

void print_json(const std::vector<ListedGroup>& groups, const HardwareNames& names) {
    Json all = Json::array();
    for (const ListedGroup& group : groups) {
        Json devices = Json::array();
        for (const ListedDevice& device : group.devices)
            devices.push_back({{"address", device.address},
                               {"id", device.id},
                               {"name", known(names.name_of(device.id))},
                               {"kind", device.kind},
                               {"driver", known(device.driver)},
                               {"vfio-node", known(device.node)},
                               {"numa-node", device.numa_node ? Json(*device.numa_node) : Json()},
                               {"uses", device.uses}});
        all.push_back({{"group", group.number.empty() ? Json() : Json(std::stoul(group.number))},
                       {"viable", group.viable()},
                       {"devices", std::move(devices)}});
    }
    fmt::print("{}\n", Json{{"groups", std::move(all)}}.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print_text(const std::vector<ListedGroup>& groups, const HardwareNames& names) {
    for (const ListedGroup& group : groups) {
        if (group.number.empty())
            fmt::print("in no group: there is no IOMMU before them, or it is off\n");
        else
            fmt::print("group {}{}\n", group.number, group.viable() ? "" : ": the kernel's");
        for (const ListedDevice& device : group.devices) {
            fmt::print("  {}  {}  {:<11}  {}{}{}{}\n", device.address, device.id, device.kind,
                       device.driver.empty() ? "no driver" : device.driver, device.node.empty() ? "" : "  ",
                       device.node, device.numa_node ? fmt::format("  NUMA node {}", *device.numa_node) : "");
            if (const std::string name = names.name_of(device.id); !name.empty())
                fmt::print("      {}\n", name);
            for (const std::string& use : device.uses) fmt::print("      {}\n", use);
        }
    }
}

}  // namespace

int devices(bool json) {
    const auto groups = list_devices(sys::host_kernel());
    if (!groups) return fail(kFailed, groups.error());
    const HardwareNames names;
    json ? print_json(*groups, names) : print_text(*groups, names);
    return kDone;
}

}  // namespace iommufd::inline v0_1::cli
