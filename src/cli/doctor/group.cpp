// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"
#include "host/device_uses.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli::doctor {

Findings check_driver(const Machine& machine) {
    constexpr const char* kCheck = "driver";
    const Device& device = *machine.device;
    if (device.has_vfio)
        return {{.verdict = Verdict::pass,
                 .check = kCheck,
                 .evidence = compose(device.address, " has VFIO's driver ", device.driver),
                 .fix = {}}};
    if (vfio::is_bridge(machine.kernel, device.folder))
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = compose(device.address, " is a bridge, which stays the kernel's"),
                 .fix = "name a device behind it (`iommufd devices`)"}};
    return {{.verdict = Verdict::fail,
             .check = kCheck,
             .evidence = device.driver.empty()
                             ? compose(device.address, " has no driver, so VFIO doesn't give it")
                             : compose(device.address, " is on its host driver ", device.driver,
                                       ", so VFIO doesn't give it"),
             .fix = compose("iommufd bind ", device.address)}};
}

Findings check_use(const Machine& machine) {
    constexpr const char* kCheck = "use";
    const Device& device = *machine.device;
    const auto& uses = device.uses;
    if (!uses)
        return {{.verdict = Verdict::unseen, .check = kCheck, .evidence = uses.error().line(), .fix = {}}};
    if (!uses->empty())
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = host::list_uses(*uses),
                 .fix = device.has_vfio ? "end that process, or use another device"
                                        : "end that use before `iommufd bind`"}};
    if (machine.user != 0)
        return {{.verdict = Verdict::unseen,
                 .check = kCheck,
                 .evidence = "no process of this user has it; those of others can't be seen",
                 .fix = "run it as root"}};
    return {{.verdict = Verdict::pass, .check = kCheck, .evidence = "nobody has it", .fix = {}}};
}

Findings check_group(const Machine& machine) {
    constexpr const char* kCheck = "iommu-group";
    const Device& device = *machine.device;
    if (device.group.empty())
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = compose(device.address, " is in no IOMMU group: ",
                                     machine.iommus.empty() ? "there is no IOMMU" : "no IOMMU is before it"),
                 .fix = machine.iommus.empty() ? "see the check iommu"
                                               : "put it into another slot, or use another device"}};
    const auto members = vfio::group_members(machine.kernel, device.folder);
    const std::string all = compose("group ", device.group, ": ", vfio::list_members(members));
    std::string spoilers;
    std::string names;
    for (const vfio::GroupMember& member : members)
        if (member.spoils && member.device != device.address) {
            spoilers += compose(spoilers.empty() ? "" : ", ", member.device, " (", member.driver, ")");
            names += compose(" ", member.device);
        }
    if (spoilers.empty()) return {{.verdict = Verdict::pass, .check = kCheck, .evidence = all, .fix = {}}};
    return {{.verdict = Verdict::fail,
             .check = kCheck,
             .evidence = compose(all, "; it isn't viable because of ", spoilers,
                                 ", whose driver does DMA for the kernel"),
             .fix = compose("iommufd bind", names)}};
}

Findings check_device_node(const Machine& machine) {
    constexpr const char* kCheck = "device-node";
    const Device& device = *machine.device;
    const auto file = vfio::device_file(machine.kernel, device.folder);
    if (!file) {
        if (!device.has_vfio)
            return {{.verdict = Verdict::unseen,
                     .check = kCheck,
                     .evidence = "VFIO gives no node before its driver has the device",
                     .fix = {}}};
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = file.error().line(),
                 .fix = std::string(file.error().next_step())}};
    }
    const int fd = machine.kernel.open(file->path.c_str(), O_RDWR);
    if (fd >= 0) {
        (void)machine.kernel.close(fd);
        return {{.verdict = Verdict::pass,
                 .check = kCheck,
                 .evidence = compose(file->path, " can be opened by user ", machine.user),
                 .fix = {}}};
    }
    const std::string evidence =
        compose("user ", machine.user, " can't open ", file->path, ": ", errno_name(-fd));
    if (fd == -ENOENT)
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = evidence,
                 .fix = compose("give the node to the container (`--device ", file->path,
                                "`), or mount devtmpfs on /dev")}};
    return {{.verdict = Verdict::fail,
             .check = kCheck,
             .evidence = evidence,
             .fix = compose("let root open it for the program: `iommufd exec --user ", machine.user,
                            " --device ", device.address, " -- COMMAND`; or for a group: `chgrp kvm ",
                            file->path, " && chmod g+rw ", file->path, "`")}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
