// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/device_list.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/device_uses.hpp"
#include "host/first_line.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

// By the first byte of the class.
constexpr std::string_view kKinds[] = {"other",  "storage", "network",  "display",    "multimedia",
                                       "memory", "bridge",  "serial",   "system",     "input",
                                       "dock",   "cpu",     "usb, bus", "wireless",   "other",
                                       "other",  "crypto",  "other",    "accelerator"};

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

ListedDevice list_device(sys::Kernel& kernel, const std::string& address, std::vector<std::string> uses) {
    const std::string folder = vfio::pci_folder(address);
    const auto line_of = [&](std::string_view file) {
        return host::first_line(kernel, compose(folder, "/", file));
    };
    const auto file = vfio::device_file(kernel, folder);
    std::string driver = vfio::link_target_name(kernel, folder, "driver");
    const bool spoils = vfio::spoils_group(kernel, folder, driver);
    return ListedDevice{.address = address,
                        .id = compose(digits(line_of("vendor")), ":", digits(line_of("device"))),
                        .kind = kind_of(line_of("class")),
                        .driver = std::move(driver),
                        .node = file ? file->path : std::string(),
                        .numa_node = numa_node(line_of("numa_node")),
                        .spoils = spoils,
                        .uses = std::move(uses)};
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
        if (const int result = kernel.readdir(std::string(vfio::kPciDevices).c_str(), addresses); result < 0)
            return failed(Operation::read, -result,
                          [] { return compose("cannot read ", vfio::kPciDevices); });
        std::ranges::sort(addresses);
        auto uses = host::uses_of_each(kernel, addresses);
        if (!uses) return uses.error();
        std::map<std::pair<std::size_t, std::string>, ListedGroup> groups;
        for (std::size_t i = 0; i < addresses.size(); ++i) {
            std::string number = vfio::group_number(kernel, vfio::pci_folder(addresses[i]));
            ListedGroup& group = groups[rank(number)];
            group.number = std::move(number);
            group.devices.push_back(list_device(kernel, addresses[i], std::move((*uses)[i])));
        }
        std::vector<ListedGroup> sorted;
        for (auto& [_, group] : groups) sorted.push_back(std::move(group));
        return sorted;
    });
}

}  // namespace iommufd::inline v0_1::cli
