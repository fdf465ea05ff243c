// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/sysfs.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/device_nodes.hpp"
#include "host/first_line.hpp"
#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::vfio {
namespace {

constexpr std::string_view kMdevDevices = "/sys/bus/mdev/devices/";
constexpr std::string_view kDeviceNodes = "/dev/vfio/devices/";

std::string padded(unsigned value, std::size_t width) {
    char digits[8];
    const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
    const std::string text(digits, end);
    return std::string(text.size() < width ? width - text.size() : 0, '0') + text;
}

std::optional<unsigned> hex(std::string_view text, std::size_t width, unsigned most) {
    unsigned value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.empty() || text.size() > width || result.ec != std::errc() ||
        result.ptr != text.data() + text.size() || value > most)
        return std::nullopt;
    return value;
}

// Why VFIO offers no file for the device, and what to do.
Error not_for_vfio(sys::Kernel& kernel, const std::string& folder) {
    const std::string device(base_name(folder));
    const std::string driver = link_target_name(kernel, folder, "driver");
    const std::string bus = link_target_name(kernel, folder, "subsystem");
    const std::string what = compose("cannot open ", device, " for VFIO");
    if (bus == "mdev")
        return Error::refused(ENODEV, what,
                              driver.empty() ? std::string("it is bound to no driver")
                                             : compose("its driver ", driver, " gives it to nobody"),
                              compose("bind it to the driver of its parent: /sys/bus/mdev/devices/", device));
    if (link_target_name(kernel, folder, "iommu_group").empty() && !noiommu_allowed(kernel))
        return Error::refused(
            ENODEV, what,
            compose("it is in no IOMMU group, and bound to ", driver.empty() ? "no driver" : driver),
            std::string(kHowToGetAGroup));
    return Error::refused(ENODEV, what,
                          driver.empty() ? std::string("it is bound to no driver")
                                         : compose("it is bound to its host driver ", driver),
                          compose("run `iommufd bind ", device, "`"));
}

}  // namespace

std::string PciAddress::text() const {
    return compose(padded(domain, 4), ":", padded(bus, 2), ":", padded(device, 2), ".", function);
}

std::optional<PciAddress> parse_pci_address(std::string_view text) {
    const std::size_t dot = text.rfind('.');
    if (dot == std::string_view::npos || text.size() < dot + 2) return std::nullopt;
    const std::size_t second = text.rfind(':', dot);
    if (second == std::string_view::npos) return std::nullopt;
    const std::size_t first = second == 0 ? std::string_view::npos : text.rfind(':', second - 1);
    const auto domain =
        first == std::string_view::npos ? std::optional(0U) : hex(text.substr(0, first), 8, 0xffffffff);
    const std::size_t bus_start = first == std::string_view::npos ? 0 : first + 1;
    const auto bus = hex(text.substr(bus_start, second - bus_start), 2, 0xff);
    const auto device = hex(text.substr(second + 1, dot - second - 1), 2, 0x1f);
    const auto function = hex(text.substr(dot + 1), 1, 7);
    if (!domain || !bus || !device || !function) return std::nullopt;
    return PciAddress{.domain = *domain, .bus = *bus, .device = *device, .function = *function};
}

std::string full_name(std::string_view device) {
    const auto address = parse_pci_address(device);
    return address ? address->text() : std::string(device);
}

std::string_view base_name(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string pci_folder(std::string_view device) { return compose(kPciDevices, "/", device); }

Result<std::string> device_folder(sys::Kernel& kernel, std::string_view where) {
    std::string folder(where);
    if (const auto address = parse_pci_address(where); address && !where.starts_with('/'))
        folder = pci_folder(address->text());
    else if (parse_vf_token(where))
        folder = std::string(kMdevDevices) + folder;
    else if (!where.starts_with('/'))
        return Error::refused(
            EINVAL, compose("cannot find device '", where, "'"), "it is no PCI address, no UUID and no path",
            "give an address like 0000:02:00.0 (see lspci -D), or the device's folder in /sys");
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    sys::FileStatus status{};
    if (const int result = kernel.stat(folder.c_str(), status); result == -ENOENT)
        return Error::refused(ENOENT, compose("cannot find device '", where, "'"),
                              compose("there is no ", folder), "list the devices with lspci -D");
    else if (result < 0)
        return failed(Operation::open, -result, [&] { return compose("cannot look at ", folder); });
    if (!S_ISDIR(status.mode))
        return Error::refused(ENOTDIR, compose("cannot find device '", where, "'"),
                              compose(folder, " is no folder"),
                              "give the device's folder in /sys, not its file in /dev");
    return folder;
}

bool is_bridge(sys::Kernel& kernel, const std::string& folder) {
    return host::first_line(kernel, compose(folder, "/class")).starts_with("0x06");
}

std::string link_target_name(sys::Kernel& kernel, const std::string& folder, std::string_view name) {
    std::string target;
    if (kernel.readlink(compose(folder, "/", name).c_str(), target) < 0) return {};
    return std::string(base_name(target));
}

Result<DeviceFile> device_file(sys::Kernel& kernel, const std::string& folder) {
    std::vector<std::string> names;
    const std::string list = compose(folder, "/vfio-dev");
    const auto cannot_read = [&](int result) {
        return failed(Operation::open, -result, [&] { return compose("cannot look at ", list); });
    };
    const int listed = kernel.readdir(list.c_str(), names);
    if (listed < 0 && listed != -ENOENT) return cannot_read(listed);
    if (names.empty()) return not_for_vfio(kernel, folder);
    std::string text;
    const int got = kernel.read_file(compose(list, "/", names.front(), "/dev").c_str(), text);
    if (got < 0 && got != -ENOENT) return cannot_read(got);
    std::string group;
    if (got < 0 && kernel.read_file(compose(folder, "/iommu_group/name").c_str(), group) >= 0 &&
        group.starts_with("vfio-noiommu"))
        return Error::refused(
            ENODEV, compose("cannot open ", base_name(folder), " for VFIO"),
            "there is no IOMMU before it, and this kernel gives such devices no character device",
            "use Linux 7.2 or later, or turn the IOMMU on");
    if (got < 0)
        return Error::refused(ENODEV, compose("cannot open ", base_name(folder), " for VFIO"),
                              compose("it is bound to ", link_target_name(kernel, folder, "driver"),
                                      ", but has no character device"),
                              "use a kernel with CONFIG_VFIO_DEVICE_CDEV (Linux 6.6)");
    const auto number = host::parse_device_number(text);
    if (!number)
        return Error::refused(ENODEV, compose("cannot open ", base_name(folder), " for VFIO"),
                              compose("sysfs gives no number of its character device, but '", text, "'"),
                              "look at the device's folder in /sys");
    return DeviceFile{.path = compose(kDeviceNodes, names.front()), .number = *number};
}

bool is_noiommu(sys::Kernel& kernel, const std::string& folder) {
    std::vector<std::string> names;
    return kernel.readdir(compose(folder, "/vfio-dev").c_str(), names) >= 0 && !names.empty() &&
           names.front().starts_with("noiommu-");
}

bool noiommu_allowed(sys::Kernel& kernel) {
    std::string value;
    return kernel.read_file("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", value) >= 0 &&
           value.starts_with('Y');
}

}  // namespace iommufd::inline v0_1::vfio
