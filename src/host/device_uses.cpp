// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/device_uses.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <set>
#include <string_view>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/device_nodes.hpp"
#include "host/first_line.hpp"

namespace iommufd::inline v0_1::host {
namespace {

constexpr unsigned kInterfaceUp = 1;  // IFF_UP

// Of any length; empty where it can't be read.
std::string read_all(sys::Kernel& kernel, const std::string& path) {
    std::string content;
    const int fd = kernel.open(path.c_str(), O_RDONLY);
    if (fd < 0) return content;
    char part[4096];
    for (ssize_t got = 0; (got = kernel.read(fd, part, sizeof part)) > 0;)
        content.append(part, static_cast<std::size_t>(got));
    (void)kernel.close(fd);
    return content;
}

// The words of each line.
std::vector<std::vector<std::string>> table(std::string_view text) {
    std::vector<std::vector<std::string>> lines;
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        std::vector<std::string>& words = lines.emplace_back();
        while (!line.empty()) {
            const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
            if (end > 0) words.emplace_back(line.substr(0, end));
            line.remove_prefix(std::min(end + 1, line.size()));
        }
    }
    return lines;
}

// "nvme0c1n2", a path to the disk "nvme0n2" that several controllers may share; else nothing.
std::string shared_disk(std::string_view path) {
    const std::size_t controller = path.find('c');
    const std::size_t space = path.find('n', controller);
    if (!path.starts_with("nvme") || controller == std::string_view::npos || space == std::string_view::npos)
        return {};
    return compose(path.substr(0, controller), path.substr(space));
}

// The names that /sys/class/CLASS has of the device and of what is below it.
std::vector<std::string> members(sys::Kernel& kernel, const std::string& kind, const std::string& device) {
    const std::string list = compose("/sys/class/", kind);
    std::vector<std::string> names;
    std::vector<std::string> found;
    (void)kernel.readdir(list.c_str(), names);
    std::ranges::sort(names);
    for (const std::string& name : names) {
        std::string target;
        if (kernel.readlink(compose(list, "/", name).c_str(), target) < 0) continue;
        if (compose(target, "/").contains(compose("/", device, "/"))) found.push_back(name);
    }
    return found;
}

// Its disks and their partitions.
std::vector<std::string> disks(sys::Kernel& kernel, const std::string& device) {
    std::vector<std::string> found = members(kernel, "block", device);
    for (std::size_t i = 0, direct = found.size(); i < direct; ++i)
        if (const std::string shared = shared_disk(found[i]); !shared.empty())
            for (std::string& name : members(kernel, "block", shared)) found.push_back(std::move(name));
    return found;
}

std::string node_of(std::string disk) {
    std::ranges::replace(disk, '!', '/');  // as sysfs writes it
    return compose("/dev/", disk);
}

void add_mounts(sys::Kernel& kernel, const std::string& disk, std::vector<std::string>& uses) {
    const std::string number = first_line(kernel, compose("/sys/class/block/", disk, "/dev"));
    std::set<std::string> seen;
    for (const char* const list : {"/proc/self/mountinfo", "/proc/1/mountinfo"}) {
        for (const auto& words : table(read_all(kernel, list))) {
            // "36 35 98:0 / /mnt rw,noatime master:1 - ext3 /dev/root rw"; of a file system on several disks the source alone tells.
            if (words.size() < 7) continue;
            const auto mark = std::ranges::find(words, "-");
            const bool is_source = words.end() - mark > 2 && mark[2] == node_of(disk);
            if ((words[2] == number || is_source) && seen.insert(words[4]).second)
                uses.push_back(compose(disk, " is mounted on ", words[4]));
        }
    }
}

void add_disk(sys::Kernel& kernel, const std::string& disk, std::vector<std::string>& uses) {
    add_mounts(kernel, disk, uses);
    for (const auto& words : table(read_all(kernel, "/proc/swaps")))
        if (!words.empty() && words[0] == node_of(disk)) uses.push_back(compose(disk, " is swap"));
    std::vector<std::string> holders;
    (void)kernel.readdir(compose("/sys/class/block/", disk, "/holders").c_str(), holders);
    for (const std::string& holder : holders) uses.push_back(compose(disk, " is part of ", holder));
}

bool is_claimed(sys::Kernel& kernel, const std::string& disk) {
    const int fd = kernel.open(node_of(disk).c_str(), O_RDONLY | O_EXCL | O_NONBLOCK);
    if (fd >= 0) (void)kernel.close(fd);
    return fd == -EBUSY;
}

bool is_up(sys::Kernel& kernel, const std::string& interface) {
    std::string text;
    unsigned flags = 0;
    if (kernel.read_file(compose("/sys/class/net/", interface, "/flags").c_str(), text) < 0 ||
        !text.starts_with("0x"))
        return false;
    (void)std::from_chars(text.data() + 2, text.data() + text.size(), flags, 16);
    return (flags & kInterfaceUp) != 0;
}

}  // namespace

Result<std::vector<std::string>> device_uses(sys::Kernel& kernel, const std::string& device) {
    return uses_of_each(kernel, {device}).transform([](auto&& uses) { return std::move(uses.front()); });
}

Result<std::vector<std::vector<std::string>>> uses_of_each(sys::Kernel& kernel,
                                                           const std::vector<std::string>& devices) {
    return guarded(Operation::read, [&]() -> Result<std::vector<std::vector<std::string>>> {
        std::vector<std::vector<std::string>> all;
        std::vector<std::vector<DeviceNode>> nodes;
        for (const std::string& device : devices) {
            std::vector<std::string>& uses = all.emplace_back();
            for (const std::string& disk : disks(kernel, device)) add_disk(kernel, disk, uses);
            for (const std::string& interface : members(kernel, "net", device))
                if (is_up(kernel, interface))
                    uses.push_back(compose("network interface ", interface, " is up"));
            auto its = device_nodes(kernel, device);
            if (!its) return its.error();
            nodes.push_back(*std::move(its));
        }
        const auto open = openers_of_each(kernel, nodes);
        if (!open) return open.error();
        for (std::size_t i = 0; i < all.size(); ++i)
            for (const Opener& opener : (*open)[i]) all[i].push_back(text(opener));
        return all;
    });
}

std::vector<std::string> claimed_disks(sys::Kernel& kernel, const std::string& device) {
    std::vector<std::string> claimed = disks(kernel, device);
    std::erase_if(claimed, [&](const std::string& disk) { return !is_claimed(kernel, disk); });
    return claimed;
}

std::string list_uses(const std::vector<std::string>& uses) {
    std::string all;
    for (const std::string& use : uses) all += compose(all.empty() ? "" : "; ", use);
    return all;
}

}  // namespace iommufd::inline v0_1::host
