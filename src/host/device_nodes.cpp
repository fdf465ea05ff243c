// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/device_nodes.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::host {
namespace {

constexpr std::string_view kNodes = "/dev/";

template <class Number>
std::optional<Number> number(std::string_view text) {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// "247:3"
std::optional<dev_t> device_number(std::string_view text) {
    text = text.substr(0, text.find('\n'));
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto major = number<unsigned>(text.substr(0, colon));
    const auto minor = number<unsigned>(text.substr(colon + 1));
    if (!major || !minor) return std::nullopt;
    return makedev(*major, *minor);
}

std::string last_component(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

Result<void> add_nodes(sys::Kernel& kernel, const std::string& device, bool is_block,
                       std::vector<DeviceNode>& nodes) {
    const std::string list = is_block ? "/sys/dev/block" : "/sys/dev/char";
    std::vector<std::string> names;
    const int result = kernel.readdir(list.c_str(), names);
    if (result == -ENOENT && is_block) return {};  // a kernel without disks
    if (result < 0) return failed(Operation::read, -result, [&] { return compose("cannot read ", list); });
    const std::string below = compose("/", device, "/");
    for (const std::string& name : names) {
        std::string target;
        if (kernel.readlink(compose(list, "/", name).c_str(), target) < 0 || !target.contains(below))
            continue;
        if (const auto its = device_number(name))
            nodes.push_back({.name = last_component(target), .number = *its, .is_block = is_block});
    }
    return {};
}

// The node of the device's group: /dev/vfio/7.
void add_group(sys::Kernel& kernel, const std::string& device, std::vector<DeviceNode>& nodes) {
    std::string target;
    std::string text;
    if (kernel.readlink(compose("/sys/bus/pci/devices/", device, "/iommu_group").c_str(), target) < 0) return;
    std::string group = last_component(target);
    if (kernel.read_file(compose("/sys/class/vfio/", group, "/dev").c_str(), text) < 0) return;
    if (const auto its = device_number(text))
        nodes.push_back({.name = std::move(group), .number = *its, .is_block = false});
}

}  // namespace

Result<std::vector<DeviceNode>> device_nodes(sys::Kernel& kernel, const std::string& device) {
    return guarded(Operation::read, [&]() -> Result<std::vector<DeviceNode>> {
        std::vector<DeviceNode> nodes;
        for (const bool is_block : {false, true})
            if (auto added = add_nodes(kernel, device, is_block, nodes); !added) return added.error();
        add_group(kernel, device, nodes);
        return nodes;
    });
}

std::string text(const Opener& opener) {
    return compose(opener.program, " (process ", opener.process, ") has ", opener.path, " open");
}

Result<std::vector<Opener>> openers(sys::Kernel& kernel, const std::vector<DeviceNode>& nodes) {
    return guarded(Operation::read, [&]() -> Result<std::vector<Opener>> {
        std::vector<std::string> processes;
        if (const int result = kernel.readdir("/proc", processes); result < 0)
            return failed(Operation::read, -result, [] { return std::string("cannot read /proc"); });
        const auto is_node = [&](const std::string& descriptor, const std::string& target) {
            sys::FileStatus status{};
            // Only what lies in /dev is looked at: other file systems may not answer.
            if (!target.starts_with(kNodes) || kernel.stat(descriptor.c_str(), status) < 0) return false;
            return std::ranges::any_of(nodes, [&](const DeviceNode& node) {
                return node.number == status.device &&
                       (node.is_block ? S_ISBLK(status.mode) : S_ISCHR(status.mode));
            });
        };
        std::vector<Opener> found;
        for (const std::string& name : processes) {
            const auto process = number<int>(name);
            if (!process || *process == ::getpid()) continue;
            const std::string folder = compose("/proc/", name, "/fd");
            std::vector<std::string> descriptors;
            if (kernel.readdir(folder.c_str(), descriptors) < 0) continue;  // not ours to look at, or gone
            for (const std::string& descriptor : descriptors) {
                const std::string link = compose(folder, "/", descriptor);
                std::string target;
                if (kernel.readlink(link.c_str(), target) < 0 || !is_node(link, target)) continue;
                std::string program;
                (void)kernel.read_file(compose("/proc/", name, "/comm").c_str(), program);
                program.erase(std::min(program.find('\n'), program.size()));
                found.push_back(
                    {.process = *process, .program = std::move(program), .path = std::move(target)});
                break;
            }
        }
        return found;
    });
}

}  // namespace iommufd::inline v0_1::host
