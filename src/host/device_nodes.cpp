// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/device_nodes.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/open_files.hpp"

namespace iommufd::inline v0_1::host {
namespace {

std::optional<unsigned> number(std::string_view text) {
    constexpr std::size_t kMostDigits = 10;
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.size() > kMostDigits || error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
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
        if (const auto its = parse_device_number(name))
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
    if (const auto its = parse_device_number(text))
        nodes.push_back({.name = std::move(group), .number = *its, .is_block = false});
}

}  // namespace

std::optional<dev_t> parse_device_number(std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    const auto major = number(text.substr(0, colon));
    const auto minor = number(text.substr(colon + 1));
    if (!major || !minor) return std::nullopt;
    return makedev(*major, *minor);
}

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
    return openers_of_each(kernel, {nodes}).transform([](auto&& found) { return std::move(found.front()); });
}

Result<std::vector<std::vector<Opener>>> openers_of_each(
    sys::Kernel& kernel, const std::vector<std::vector<DeviceNode>>& devices) {
    return guarded(Operation::read, [&]() -> Result<std::vector<std::vector<Opener>>> {
        std::vector<std::vector<Opener>> found(devices.size());
        const auto seen = each_open_file(kernel, [&](const OpenFile& file) {
            sys::FileStatus status{};
            if (kernel.stat(file.link.c_str(), status) < 0) return false;
            bool known_of_all = true;
            for (std::size_t i = 0; i < devices.size(); ++i) {
                bool known = !found[i].empty() && found[i].back().process == file.process;
                if (!known && std::ranges::any_of(devices[i], [&](const DeviceNode& node) {
                        return node.number == status.device &&
                               (node.is_block ? S_ISBLK(status.mode) : S_ISCHR(status.mode));
                    })) {
                    found[i].push_back({.process = file.process,
                                        .program = program_of(kernel, file.process),
                                        .path = file.path});
                    known = true;
                }
                known_of_all = known_of_all && known;
            }
            return known_of_all;
        });
        if (!seen) return seen.error();
        return found;
    });
}

}  // namespace iommufd::inline v0_1::host
