// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fcntl.h>

#include <cerrno>

#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"
#include "host/first_line.hpp"
#include "iommufd/backend/backend.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kNode = "/dev/iommu";
constexpr const char* kCheck = "iommu-node";

Finding absent(const Machine& machine) {
    const std::string number = host::first_line(machine.kernel, "/sys/class/misc/iommu/dev");
    if (!number.empty())
        return {.verdict = Verdict::fail,
                .check = kCheck,
                .evidence = compose("the kernel has iommufd (misc device ", number, "), and there is no ",
                                    kNode, " here"),
                .fix =
                    "give the node to the container (`--device /dev/iommu`), or let udev make it: `udevadm "
                    "trigger "
                    "/sys/class/misc/iommu`"};
    std::string blocked;
    for (const std::string& word : machine.command_line)
        if (word.starts_with("initcall_blacklist=") && word.contains("iommufd")) blocked = word;
    return {
        .verdict = Verdict::fail,
        .check = kCheck,
        .evidence = compose("there is no ", kNode, ", and no iommu in /sys/class/misc: iommufd isn't loaded",
                            blocked.empty() ? "" : "; the kernel was booted with ", blocked),
        .fix = blocked.empty()
                   ? std::string("modprobe iommufd")
                   : compose("take ", blocked, " from the kernel's command line, and boot again")};
}

std::string mode_text(mode_t mode) {
    std::string text = "0000";
    for (int digit = 3; digit > 0; --digit, mode >>= 3)
        text[static_cast<std::size_t>(digit)] = static_cast<char>('0' + (mode & 7));
    return text;
}

}  // namespace

Findings check_iommu_node(const Machine& machine) {
    const int fd = machine.kernel.open(kNode, O_RDWR);
    if (fd >= 0) {
        (void)machine.kernel.close(fd);
        return {{.verdict = Verdict::pass,
                 .check = kCheck,
                 .evidence = compose(kNode, " can be opened by user ", machine.user),
                 .fix = {}}};
    }
    if (fd == -ENOENT) return {absent(machine)};
    sys::FileStatus status{};
    const bool seen = machine.kernel.stat(kNode, status) >= 0;
    const std::string evidence =
        compose("user ", machine.user, " can't open ", kNode, ": ", errno_name(-fd),
                seen ? compose(" (mode ", mode_text(status.mode), ")") : std::string());
    if (fd == -EACCES)
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = evidence,
                 .fix = compose(
                     "let root open it for the program: `iommufd exec --user ", machine.user,
                     " ... -- COMMAND`; or for a group: `chgrp kvm /dev/iommu && chmod g+rw /dev/iommu`")}};
    if (fd == -EPERM)
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = compose(evidence, ": a rule of the cgroup (DeviceAllow, --device) forbids it"),
                 .fix = "DeviceAllow=/dev/iommu rw in the unit, or `--device /dev/iommu` for the container"}};
    const Explanation why = explain(Operation::open, -fd);
    return {{.verdict = Verdict::fail,
             .check = kCheck,
             .evidence = compose(evidence, ": ", why.cause),
             .fix = std::string(why.next_step)}};
}

Findings check_ioctls(const Machine& machine) {
    constexpr const char* kIoctls = "iommufd-ioctls";
    auto backend = Backend::open({.id = "doctor", .fd = {}, .report = {}, .kernel = &machine.kernel});
    auto has = backend ? backend->capabilities() : Result<Capabilities>(backend.error());
    if (!has)
        return {{.verdict = Verdict::unseen,
                 .check = kIoctls,
                 .evidence = "without /dev/iommu the kernel can't be asked",
                 .fix = {}}};
    std::string missing;
    for (const Operation operation : Capabilities::all())
        if (!has->has(operation))
            missing +=
                compose(missing.empty() ? "" : ", ", name(operation), " (Linux ", since(operation), ")");
    if (missing.empty())
        return {{.verdict = Verdict::pass,
                 .check = kIoctls,
                 .evidence = compose("all ", Capabilities::all().size()),
                 .fix = {}}};
    return {{.verdict = Verdict::warn,
             .check = kIoctls,
             .evidence = compose("Linux ", machine.release, " lacks ", missing),
             .fix = "use a newer kernel where they are wanted"}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
