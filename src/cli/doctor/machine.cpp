// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/machine.hpp"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "error/compose.hpp"
#include "host/device_uses.hpp"
#include "host/first_line.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

Result<Device> find_device(sys::Kernel& kernel, std::string_view where) {
    auto folder = vfio::device_folder(kernel, where);
    if (!folder) return folder.error();
    const auto address = vfio::parse_pci_address(vfio::base_name(*folder));
    if (!address)
        return Error::refused(EINVAL, compose("cannot look at device '", where, "'"), "it is no PCI device",
                              "give an address like 0000:02:00.0 (see `iommufd devices`)");
    const std::string path = vfio::pci_folder(address->text());
    return Device{.address = address->text(),
                  .folder = path,
                  .driver = vfio::link_target_name(kernel, path, "driver"),
                  .group = vfio::group_number(kernel, path),
                  .has_vfio = vfio::is_of_vfio(kernel, path),
                  .uses = host::device_uses(kernel, address->text())};
}

}  // namespace

std::optional<std::string> content_of(sys::Kernel& kernel, const std::string& path) {
    const int fd = kernel.open(path.c_str(), O_RDONLY);
    if (fd < 0) return std::nullopt;
    std::string content;
    char piece[16384];
    ssize_t got = 0;
    while ((got = kernel.read(fd, piece, sizeof piece)) > 0)
        content.append(piece, static_cast<std::size_t>(got));
    (void)kernel.close(fd);
    if (got < 0) return std::nullopt;
    return content;
}

bool exists(sys::Kernel& kernel, const std::string& path) {
    sys::FileStatus status{};
    return kernel.stat(path.c_str(), status) >= 0;
}

std::vector<std::string> names_in(sys::Kernel& kernel, const std::string& path) {
    std::vector<std::string> names;
    if (kernel.readdir(path.c_str(), names) < 0) names.clear();
    return names;
}

// The second number of "Uid:	1000	1000	1000	1000".
unsigned effective_user(sys::Kernel& kernel) {
    std::istringstream lines(content_of(kernel, "/proc/self/status").value_or(""));
    std::string line;
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string key;
        unsigned real = 0;
        unsigned effective = 0;
        if (words >> key >> real >> effective && key == "Uid:") return effective;
    }
    return 0;
}

Result<Machine> look_at(sys::Kernel& kernel, std::string_view where, std::uint64_t memory) {
    Machine machine{.kernel = kernel,
                    .release = host::first_line(kernel, "/proc/sys/kernel/osrelease"),
                    .command_line = {},
                    .user = effective_user(kernel),
                    .iommus = names_in(kernel, "/sys/class/iommu"),
                    .device = std::nullopt,
                    .memory = memory};
    std::istringstream words(host::first_line(kernel, "/proc/cmdline"));
    for (std::string word; words >> word;) machine.command_line.push_back(word);
    // The mock of the kernel's own tests is no IOMMU of this machine.
    std::erase_if(machine.iommus,
                  [](const std::string& name) { return name.starts_with("iommufd_selftest"); });
    if (where.empty()) return machine;
    auto device = find_device(kernel, where);
    if (!device) return device.error();
    machine.device = *std::move(device);
    return machine;
}

bool is_since(const Machine& machine, unsigned major, unsigned minor) {
    unsigned its_major = 0;
    unsigned its_minor = 0;
    const char* const end = machine.release.data() + machine.release.size();
    const auto [dot, error] = std::from_chars(machine.release.data(), end, its_major);
    if (error == std::errc() && dot != end) (void)std::from_chars(dot + 1, end, its_minor);
    return std::pair(its_major, its_minor) >= std::pair(major, minor);
}

std::string argument(const Machine& machine, std::string_view start) {
    const auto found = std::ranges::find_if(machine.command_line,
                                            [&](const std::string& word) { return word.starts_with(start); });
    return found == machine.command_line.end() ? std::string() : *found;
}

}  // namespace iommufd::inline v0_1::cli::doctor
