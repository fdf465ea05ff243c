// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/sysfs.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::vfio {
namespace {

constexpr std::string_view kPciDevices = "/sys/bus/pci/devices/";
constexpr std::string_view kDeviceNodes = "/dev/vfio/devices/";

// Drivers that do no DMA of their own, as the kernel sees it (driver_managed_dma).
constexpr std::string_view kHarmless[] = {"pcieport", "pci-stub", "vfio-pci"};

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

bool is_harmless(std::string_view driver) {
    return driver.empty() || driver.find("vfio") != std::string_view::npos ||
           std::ranges::find(kHarmless, driver) != std::end(kHarmless);
}

Error not_for_vfio(sys::Kernel& kernel, const std::string& folder) {
    const std::string device(base_name(folder));
    const std::string driver = link_target_name(kernel, folder, "driver");
    const std::string what = compose("cannot open ", device, " for VFIO");
    if (driver.find("vfio") != std::string::npos)
        return Error::refused(ENODEV, what,
                              compose("it is bound to ", driver, ", but has no character device"),
                              "use a kernel with CONFIG_VFIO_DEVICE_CDEV (Linux 6.6)");
    if (link_target_name(kernel, folder, "iommu_group").empty())
        return Error::refused(
            ENODEV, what,
            compose("it is behind no IOMMU, and bound to ", driver.empty() ? "no driver" : driver),
            "turn the IOMMU on in the firmware and on the kernel's command line (intel_iommu=on)");
    return Error::refused(ENODEV, what,
                          driver.empty() ? std::string("it is bound to no driver")
                                         : compose("it is bound to its host driver ", driver),
                          compose("run: ",
                                  driver.empty() ? std::string()
                                                 : compose("echo ", device, " > /sys/bus/pci/devices/",
                                                           device, "/driver/unbind; "),
                                  "echo vfio-pci > /sys/bus/pci/devices/", device, "/driver_override; echo ",
                                  device, " > /sys/bus/pci/drivers_probe"));
}

// "247:3\n"
std::optional<dev_t> parse_device_number(std::string_view text) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    unsigned major = 0;
    unsigned minor = 0;
    const std::string_view rest = text.substr(colon + 1);
    if (std::from_chars(text.data(), text.data() + colon, major).ec != std::errc() ||
        std::from_chars(rest.data(), rest.data() + rest.size(), minor).ec != std::errc())
        return std::nullopt;
    return makedev(major, minor);
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

std::string_view base_name(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

Result<std::string> device_folder(sys::Kernel& kernel, std::string_view where) {
    std::string folder(where);
    if (const auto address = parse_pci_address(where); address && !where.starts_with('/'))
        folder = std::string(kPciDevices) + address->text();
    else if (!where.starts_with('/'))
        return Error::refused(
            EINVAL, compose("cannot find device '", where, "'"), "it is no PCI address and no path",
            "give an address like 0000:02:00.0 (see lspci -D), or the device's folder in /sys");
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    sys::FileStatus status{};
    if (const int result = kernel.stat(folder.c_str(), status); result < 0)
        return Error::refused(-result, compose("cannot find device '", where, "'"),
                              compose("there is no ", folder), "list the devices with lspci -D");
    return folder;
}

std::string link_target_name(sys::Kernel& kernel, const std::string& folder, std::string_view name) {
    std::string target;
    if (kernel.readlink(compose(folder, "/", name).c_str(), target) < 0) return {};
    return std::string(base_name(target));
}

Result<std::string> device_node(sys::Kernel& kernel, const std::string& folder) {
    std::vector<std::string> names;
    const std::string list = compose(folder, "/vfio-dev");
    if (kernel.readdir(list.c_str(), names) < 0 || names.empty()) return not_for_vfio(kernel, folder);
    std::string node = compose(kDeviceNodes, names.front());
    std::string number;
    sys::FileStatus status{};
    if (const int result = kernel.stat(node.c_str(), status); result < 0)
        return Error::refused(-result, compose("cannot open ", base_name(folder), " for VFIO"),
                              compose("there is no ", node),
                              "look whether /dev is complete here (in a container, pass the device in)");
    if (kernel.read_file(compose(list, "/", names.front(), "/dev").c_str(), number) < 0 ||
        parse_device_number(number) != status.device || !S_ISCHR(status.mode))
        return Error::refused(
            ENXIO, compose("cannot open ", base_name(folder), " for VFIO"),
            compose(node, " is not the device that sysfs names (", number.substr(0, number.find('\n')), ")"),
            "recreate the node with the number that sysfs gives");
    return node;
}

bool is_noiommu(sys::Kernel& kernel, const std::string& folder) {
    std::vector<std::string> names;
    return kernel.readdir(compose(folder, "/vfio-dev").c_str(), names) >= 0 && !names.empty() &&
           names.front().starts_with("noiommu-");
}

std::vector<std::string> spoilers(sys::Kernel& kernel, const std::string& folder) {
    std::vector<std::string> members;
    std::vector<std::string> spoiling;
    if (kernel.readdir(compose(folder, "/iommu_group/devices").c_str(), members) < 0) return spoiling;
    for (const std::string& member : members) {
        if (member == base_name(folder)) continue;
        const std::string driver =
            link_target_name(kernel, compose(folder, "/iommu_group/devices/", member), "driver");
        if (!is_harmless(driver)) spoiling.push_back(compose(member, " (bound to ", driver, ")"));
    }
    return spoiling;
}

}  // namespace iommufd::inline v0_1::vfio
