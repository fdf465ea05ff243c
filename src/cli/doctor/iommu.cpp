// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <algorithm>

#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"
#include "host/first_line.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kIommu = "iommu";
constexpr const char* kRemapping = "interrupt-remapping";

std::string_view kind_of(std::string_view name) {
    if (name.starts_with("dmar")) return "Intel VT-d";
    if (name.starts_with("ivhd")) return "AMD-Vi";
    if (name.starts_with("smmu3")) return "Arm SMMUv3";
    if (name.starts_with("smmu")) return "Arm SMMU";
    // It has the name of its device on the bus.
    if (name.starts_with("virtio") || vfio::parse_pci_address(name)) return "virtio-iommu";
    return "an IOMMU";
}

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) text += compose(text.empty() ? "" : ", ", word);
    return text;
}

// The firmware's description of an IOMMU: "DMAR"; empty where there is none.
std::string firmware_table(const Machine& machine) {
    for (const char* const table : {"DMAR", "IVRS", "IORT", "VIOT"})
        if (exists(machine.kernel, compose("/sys/firmware/acpi/tables/", table))) return table;
    return {};
}

Finding no_iommu(const Machine& machine) {
    std::string evidence = "there is no IOMMU: /sys/class/iommu is empty";
    std::string off;
    for (const std::string& word : machine.command_line)
        if (word == "intel_iommu=off" || word == "amd_iommu=off" || word == "iommu=off") off = word;
    const std::string table = firmware_table(machine);
    std::string fix =
        "turn it on in the firmware's setup (VT-d, AMD-Vi or SMMU), and boot with intel_iommu=on on Intel's "
        "machines";
    if (!off.empty()) {
        evidence = compose("the IOMMU is off: the kernel was booted with ", off);
        fix = compose("take ", off,
                      " from the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then "
                      "`update-grub`), and boot again");
    } else if (!table.empty()) {
        evidence = compose("the firmware describes an IOMMU (", table,
                           "), and the kernel doesn't use it: /sys/class/iommu is empty");
        fix =
            "add intel_iommu=on to the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then "
            "`update-grub`), and boot again";
    }
    if (host::first_line(machine.kernel, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "Y")
        evidence +=
            "; VFIO gives devices without protection (enable_unsafe_noiommu_mode=Y): they reach all memory";
    return {
        .verdict = Verdict::fail, .check = kIommu, .evidence = std::move(evidence), .fix = std::move(fix)};
}

}  // namespace

Findings check_iommu(const Machine& machine) {
    const std::size_t groups = names_in(machine.kernel, "/sys/kernel/iommu_groups").size();
    if (machine.iommus.empty()) return {no_iommu(machine)};
    const std::string which = compose(kind_of(machine.iommus.front()), " (", joined(machine.iommus), ")");
    if (groups == 0)
        return {{.verdict = Verdict::fail,
                 .check = kIommu,
                 .evidence = compose(which, " translates for nobody: /sys/kernel/iommu_groups is empty"),
                 .fix = "add intel_iommu=on to the kernel's command line (GRUB_CMDLINE_LINUX in "
                        "/etc/default/grub, then "
                        "`update-grub`), and boot again"}};
    return {{.verdict = Verdict::pass,
             .check = kIommu,
             .evidence = compose(which, " with ", groups, " group", groups == 1 ? "" : "s"),
             .fix = {}}};
}

Findings check_interrupt_remapping(const Machine& machine) {
    if (machine.iommus.empty())
        return {{.verdict = Verdict::unseen,
                 .check = kRemapping,
                 .evidence = "there is no IOMMU that could remap interrupts",
                 .fix = {}}};
    const std::string interrupts = content_of(machine.kernel, "/proc/interrupts").value_or("");
    for (const std::string_view chip : {" IR-PCI-MSI", " IR-IO-APIC", " ITS-"})
        if (interrupts.contains(chip))
            return {{.verdict = Verdict::pass,
                     .check = kRemapping,
                     .evidence = compose("on:", chip, " in /proc/interrupts"),
                     .fix = {}}};
    if (interrupts.empty())
        return {{.verdict = Verdict::unseen,
                 .check = kRemapping,
                 .evidence = "/proc/interrupts can't be read",
                 .fix = "run it as root"}};
    constexpr const char* kParameter = "/sys/module/iommufd/parameters/allow_unsafe_interrupts";
    std::string cause = argument(machine, "intremap=off");
    if (cause.empty()) cause = argument(machine, "nointremap");
    const std::string evidence = compose("off: no IR- interrupt in /proc/interrupts",
                                         cause.empty() ? "" : "; the kernel was booted with ", cause);
    if (host::first_line(machine.kernel, kParameter) == "Y")
        return {
            {.verdict = Verdict::warn,
             .check = kRemapping,
             .evidence = compose(evidence,
                                 "; iommufd gives devices all the same (allow_unsafe_interrupts=Y), and they "
                                 "can send this machine any interrupt"),
             .fix = "for devices or guests that you don't trust: turn it on in the firmware"}};
    return {{.verdict = Verdict::fail,
             .check = kRemapping,
             .evidence = compose(evidence, "; iommufd gives no device then"),
             .fix = compose(cause.empty()
                                ? std::string("turn it on in the firmware")
                                : compose("take ", cause, " from the kernel's command line, and boot again"),
                            "; or, for devices and guests that you trust: `echo Y > ", kParameter, "`")}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
