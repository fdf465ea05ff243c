// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/device_list.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/device_uses.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr const char* kDevices = "/sys/bus/pci/devices";

// By the first byte of the class.
constexpr std::string_view kKinds[] = {"other",  "storage", "network",  "display",    "multimedia",
                                       "memory", "bridge",  "serial",   "system",     "input",
                                       "dock",   "cpu",     "usb, bus", "wireless",   "other",
                                       "other",  "crypto",  "other",    "accelerator"};

// A file of one line; empty where there is none.
std::string line_of(sys::Kernel& kernel, const std::string& path) {
    std::string content;
    (void)kernel.read_file(path.c_str(), content);
    content.erase(std::min(content.find('\n'), content.size()));
    return content;
}

// "0x8086" without what says that it is hexadecimal.
std::string digits(std::string_view text) { return std::string(text.substr(text.starts_with("0x") ? 2 : 0)); }

std::string kind_of(std::string_view code) {
    unsigned number = 0;
    const std::string text = digits(code).substr(0, 2);
    (void)std::from_chars(text.data(), text.data() + text.size(), number, 16);
    return std::string(number < std::size(kKinds) ? kKinds[number] : "other");
}

std::optional<int> numa_node(const std::string& text) {
    int number = -1;
    (void)std::from_chars(text.data(), text.data() + text.size(), number);
    return number < 0 ? std::nullopt : std::optional(number);
}

Result<ListedDevice> list_device(sys::Kernel& kernel, const std::string& address) {
    const std::string folder = compose(kDevices, "/", address);
    const auto file = vfio::device_file(kernel, folder);
    auto uses = host::device_uses(kernel, address);
    if (!uses) return uses.error();
    return ListedDevice{.address = address,
                        .id = compose(digits(line_of(kernel, folder + "/vendor")), ":",
                                      digits(line_of(kernel, folder + "/device"))),
                        .kind = kind_of(line_of(kernel, folder + "/class")),
                        .driver = vfio::link_target_name(kernel, folder, "driver"),
                        .node = file ? file->path : std::string(),
                        .numa_node = numa_node(line_of(kernel, folder + "/numa_node")),
                        .spoils = std::ranges::any_of(vfio::group_members(kernel, folder),
                                                      [&](const vfio::GroupMember& member) {
                                                          return member.device == address && member.spoils;
                                                      }),
                        .uses = *std::move(uses)};
}

// Numbers by their value, and nothing after all of them.
std::pair<std::size_t, std::string> rank(const std::string& group) {
    return {group.empty() ? std::string::npos : group.size(), group};
}

}  // namespace

bool ListedGroup::viable() const {
    return !number.empty() && std::ranges::none_of(devices, &ListedDevice::spoils);
}

Result<std::vector<ListedGroup>> list_devices(sys::Kernel& kernel) {
    return guarded(Operation::read, [&]() -> Result<std::vector<ListedGroup>> {
        std::vector<std::string> addresses;
        if (const int result = kernel.readdir(kDevices, addresses); result < 0)
            return failed(Operation::read, -result, [] { return compose("cannot read ", kDevices); });
        std::ranges::sort(addresses);
        std::map<std::pair<std::size_t, std::string>, ListedGroup> groups;
        for (const std::string& address : addresses) {
            std::string number = vfio::group_number(kernel, compose(kDevices, "/", address));
            auto device = list_device(kernel, address);
            if (!device) return device.error();
            ListedGroup& group = groups[rank(number)];
            group.number = std::move(number);
            group.devices.push_back(*std::move(device));
        }
        std::vector<ListedGroup> sorted;
        for (auto& [_, group] : groups) sorted.push_back(std::move(group));
        return sorted;
    });
}

}  // namespace iommufd::inline v0_1::cli
