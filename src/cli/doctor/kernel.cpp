// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <algorithm>

#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kOptions = "kernel-options";

struct Option {
    std::string_view name;
    std::string_view symbol;  // a function that it brings, as /proc/kallsyms has it
    std::string_view module;  // that may hold it
    bool needed;
};
constexpr Option kWanted[] = {
    {.name = "IOMMUFD", .symbol = "iommufd_fops_open", .module = "iommufd.ko", .needed = true},
    {.name = "VFIO_DEVICE_CDEV", .symbol = "vfio_cdev_init", .module = "vfio.ko", .needed = true},
    {.name = "VFIO_PCI", .symbol = "vfio_pci_core_enable", .module = "vfio-pci.ko", .needed = true},
    {.name = "VFIO_PCI_DMABUF",
     .symbol = "vfio_pci_core_feature_dma_buf",
     .module = "vfio-pci.ko",
     .needed = false},
};

// What is known of how the kernel was built.
struct Source {
    std::string path;
    std::string text;
    bool is_config;  // else its functions
    std::string modules;

    // Nothing: that isn't known.
    std::optional<bool> has(const Option& option) const {
        if (is_config) {
            const std::string line = compose("\nCONFIG_", option.name, "=");
            const std::size_t found = text.find(line);
            return found != std::string::npos &&
                   (text[found + line.size()] == 'y' || text[found + line.size()] == 'm');
        }
        if (text.contains(compose(" ", option.symbol, "\n")) ||
            text.contains(compose(" ", option.symbol, "\t")))
            return true;
        // A module that isn't loaded shows no functions.
        if (modules.contains(compose("/", option.module))) return std::nullopt;
        return false;
    }
};

std::optional<Source> find_source(const Machine& machine) {
    for (const std::string& path :
         {compose("/boot/config-", machine.release), compose("/lib/modules/", machine.release, "/config"),
          compose("/lib/modules/", machine.release, "/build/.config")})
        if (auto text = content_of(machine.kernel, path); text && text->contains("CONFIG_"))
            return Source{.path = path, .text = "\n" + *text, .is_config = true, .modules = {}};
    if (auto symbols = content_of(machine.kernel, "/proc/kallsyms"); symbols && !symbols->empty())
        return Source{
            .path = "/proc/kallsyms",
            .text = *std::move(symbols),
            .is_config = false,
            .modules = content_of(machine.kernel, compose("/lib/modules/", machine.release, "/modules.dep"))
                           .value_or("")};
    return std::nullopt;
}

constexpr const char* kRebuild =
    "boot a kernel that has it, or build one: in its source `scripts/config -m IOMMUFD -m VFIO -e "
    "VFIO_DEVICE_CDEV -m VFIO_PCI`";

Finding missing(const Machine& machine, const Source& source, const Option& option) {
    std::string evidence = source.is_config
                               ? compose("CONFIG_", option.name, " is not set in ", source.path)
                               : compose("no function of CONFIG_", option.name, " is in ", source.path);
    if (option.name == "IOMMUFD") evidence += ": this kernel has no /dev/iommu, like Debian's own";
    const bool too_old = !is_since(machine, 6, 6);
    return {
        .verdict = option.needed ? Verdict::fail : Verdict::warn,
        .check = kOptions,
        .evidence = compose("Linux ", machine.release, ": ", evidence),
        .fix = !option.needed
                   ? "use Linux 6.19 or later with CONFIG_VFIO_PCI_DMABUF=y where devices are to reach each "
                     "other's BARs"
               : too_old
                   ? "use Linux 6.6 or later with CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV and CONFIG_VFIO_PCI"
                   : kRebuild};
}

bool has_name(const std::string& list, std::string_view name) {
    return list.contains(compose(" ", name, "\n"));
}

}  // namespace

Findings check_kernel_options(const Machine& machine) {
    const auto source = find_source(machine);
    if (!source)
        return {{.verdict = Verdict::unseen,
                 .check = kOptions,
                 .evidence = compose("Linux ", machine.release, ": neither /boot/config-", machine.release,
                                     " nor /proc/kallsyms can be read"),
                 .fix = {}}};
    Findings findings;
    std::string present;
    std::string unknown;
    for (const Option& option : kWanted) {
        const auto has = source->has(option);
        if (!has) {
            unknown += compose(unknown.empty() ? "" : ", ", "CONFIG_", option.name);
        } else if (*has) {
            present += compose(present.empty() ? "" : ", ", "CONFIG_", option.name);
        } else {
            findings.push_back(missing(machine, *source, option));
            // Without it the others say nothing more.
            if (option.name == "IOMMUFD") return findings;
        }
    }
    if (!unknown.empty())
        findings.push_back({.verdict = Verdict::unseen,
                            .check = kOptions,
                            .evidence = compose(unknown, ": in a module that isn't loaded"),
                            .fix = "modprobe vfio-pci"});
    if (!present.empty())
        findings.insert(findings.begin(), {.verdict = Verdict::pass,
                                           .check = kOptions,
                                           .evidence = compose("Linux ", machine.release, ": ", present, " (",
                                                               source->path, ")"),
                                           .fix = {}});
    return findings;
}

Findings check_vfio_driver(const Machine& machine) {
    const std::string driver = "/sys/bus/pci/drivers/vfio-pci";
    if (exists(machine.kernel, driver))
        return {
            {.verdict = Verdict::pass, .check = "vfio-driver", .evidence = "vfio-pci is loaded", .fix = {}}};
    if (machine.device && machine.device->has_vfio)
        return {{.verdict = Verdict::pass,
                 .check = "vfio-driver",
                 .evidence = compose(machine.device->driver, " is loaded"),
                 .fix = {}}};
    return {{.verdict = Verdict::fail,
             .check = "vfio-driver",
             .evidence = compose("vfio-pci is not loaded: there is no ", driver),
             .fix = "modprobe vfio-pci"}};
}

Findings check_cdev(const Machine& machine) {
    constexpr const char* kCheck = "vfio-cdev";
    const std::string devices = content_of(machine.kernel, "/proc/devices").value_or("");
    if (has_name(devices, "vfio-dev"))
        return {{.verdict = Verdict::pass,
                 .check = kCheck,
                 .evidence = "VFIO gives character devices (vfio-dev in /proc/devices)",
                 .fix = {}}};
    if (!exists(machine.kernel, "/sys/class/vfio-dev") && !has_name(devices, "vfio"))
        return {{.verdict = Verdict::unseen,
                 .check = kCheck,
                 .evidence = "VFIO is not loaded: neither vfio-dev nor vfio is in /proc/devices",
                 .fix = "modprobe vfio-pci"}};
    return {{.verdict = Verdict::fail,
             .check = kCheck,
             .evidence = compose("VFIO of Linux ", machine.release,
                                 " gives groups only: there is no vfio-dev in /proc/devices"),
             .fix = is_since(machine, 6, 6) ? "boot a kernel with CONFIG_VFIO_DEVICE_CDEV=y"
                                            : "use Linux 6.6 or later with CONFIG_VFIO_DEVICE_CDEV=y"}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
