// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/bind.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <ranges>

#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "cli/rebind.hpp"
#include "error/compose.hpp"
#include "host/device_uses.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

std::string named(const std::string& driver) { return driver.empty() ? "no driver" : driver; }

Result<std::vector<std::string>> find_devices(sys::Kernel& kernel, const BindArguments& arguments) {
    std::vector<std::string> devices;
    const auto add = [&](const std::string& device) {
        if (std::ranges::find(devices, device) == devices.end()) devices.push_back(device);
    };
    for (const std::string& where : arguments.devices) {
        auto folder = vfio::device_folder(kernel, where);
        if (!folder) return folder.error();
        const auto address = vfio::parse_pci_address(vfio::base_name(*folder));
        if (!address)
            return Error::refused(EINVAL, compose("cannot move device '", where, "'"), "it is no PCI device",
                                  "give an address like 0000:02:00.0 (see lspci -D)");
        add(address->text());
        if (!arguments.group) continue;
        for (const vfio::GroupMember& member : vfio::group_members(kernel, vfio::pci_folder(address->text())))
            // They don't keep their group from anybody.
            if (!vfio::is_bridge(kernel, vfio::pci_folder(member.device))) add(member.device);
    }
    return devices;
}

Result<void> check_uses(sys::Kernel& kernel, const std::string& device, const Driven& now, bool force) {
    if (force || now.driver.empty()) return {};
    auto uses = host::device_uses(kernel, device);
    if (!uses) return uses.error();
    if (uses->empty())
        for (const std::string& disk : host::claimed_disks(kernel, device))
            uses->push_back(compose(disk, " is claimed by somebody, or mounted in another mount namespace"));
    if (uses->empty()) return {};
    return Error::refused(EBUSY, compose("cannot take ", device, " from ", now.driver),
                          host::list_uses(*uses), "end that use, or add --force to take it all the same");
}

// What is known to stop a bind before anything is changed.
Result<void> check_bind(sys::Kernel& kernel, const std::string& device, const Driven& now,
                        const BindArguments& arguments) {
    if (now.driver == arguments.driver) return {};
    const std::string what = compose("cannot bind ", device, " to ", arguments.driver);
    sys::FileStatus status{};
    if (kernel.stat(compose("/sys/bus/pci/drivers/", arguments.driver).c_str(), status) < 0)
        return Error::refused(ENOENT, what, "that driver is not loaded",
                              compose("run `modprobe ", arguments.driver, "`"));
    if (vfio::is_bridge(kernel, vfio::pci_folder(device)))
        return Error::refused(EINVAL, what, "it is a bridge, which stays the kernel's",
                              "name a device behind it");
    if (vfio::group_number(kernel, vfio::pci_folder(device)).empty() && !vfio::noiommu_allowed(kernel))
        return Error::refused(ENODEV, what, "it is in no IOMMU group", std::string(vfio::kHowToGetAGroup));
    return check_uses(kernel, device, now, arguments.force);
}

Result<void> check_unbind(sys::Kernel& kernel, const std::string& device, const Driven& now,
                          const std::optional<BindRecord>& record, bool force) {
    if (auto taken = check_taken(device, now, record); !taken) return taken;
    return record && record->driver == now.driver ? Result<void>() : check_uses(kernel, device, now, force);
}

void print_plan(const std::vector<Write>& writes) {
    for (const Write& write : writes) fmt::print("  {}\n", text(write));
}

// A group that no program can have is worth a word.
void warn_of_groups(sys::Kernel& kernel, const std::vector<std::string>& devices) {
    for (const std::string& device : devices) {
        const auto members = vfio::group_members(kernel, vfio::pci_folder(device));
        const auto spoiling = std::ranges::find_if(members, &vfio::GroupMember::spoils);
        if (spoiling != members.end())
            fmt::print(stderr,
                       "iommufd: warning: {} can't be used yet: {} of its IOMMU group still has its driver "
                       "{}; add --group\n",
                       device, spoiling->device, spoiling->driver);
    }
}

// Which of the nodes is the device's.
std::string node_of(sys::Kernel& kernel, const std::string& device) {
    const auto file = vfio::device_file(kernel, vfio::pci_folder(device));
    return file ? compose(" (", file->path, ")") : std::string();
}

}  // namespace

int bind(const BindArguments& arguments) {
    sys::Kernel& kernel = sys::host_kernel();
    const auto devices = find_devices(kernel, arguments);
    if (!devices) return fail(kFailed, devices.error());
    int status = kDone;
    for (const std::string& device : *devices) {
        const Driven now = driven(kernel, device);
        const auto writes = writes_to_bind(device, now, arguments.driver);
        if (arguments.dry_run && !writes.empty())
            fmt::print("{}: {} -> {}\n", device, named(now.driver), arguments.driver);
        if (arguments.dry_run) print_plan(writes);
        if (auto checked = check_bind(kernel, device, now, arguments); !checked) {
            status = fail(kFailed, checked.error());
            if (!arguments.dry_run) return status;
        }
    }
    if (arguments.dry_run) return status;

    BindRecords records;
    if (auto locked = records.lock(); !locked) return fail(kFailed, locked.error());
    const Rebinder rebinder(kernel, records, arguments.limit);
    std::vector<std::string> bound;
    for (const std::string& device : *devices) {
        const Driven before = driven(kernel, device);
        if (auto done = rebinder.bind(device, arguments.driver); !done) {
            status = fail(kFailed, done.error());
            for (const std::string& undone : bound | std::views::reverse)
                if (auto back = rebinder.unbind(undone); !back) (void)fail(kFailed, back.error());
            return status;
        }
        if (before.driver != arguments.driver) bound.push_back(device);
        fmt::print("{}: {} -> {}{}\n", device, named(before.driver), arguments.driver,
                   node_of(kernel, device));
    }
    warn_of_groups(kernel, *devices);
    return kDone;
}

int unbind(const BindArguments& arguments) {
    sys::Kernel& kernel = sys::host_kernel();
    const auto devices = find_devices(kernel, arguments);
    if (!devices) return fail(kFailed, devices.error());
    BindRecords records;
    if (!arguments.dry_run)
        if (auto locked = records.lock(); !locked) return fail(kFailed, locked.error());
    const Rebinder rebinder(kernel, records, arguments.limit);
    int status = kDone;
    for (const std::string& device : *devices) {
        const Driven now = driven(kernel, device);
        const auto record = records.find(device);
        // Of a whole group those that nobody took are left alone.
        if (arguments.group && !record && !now.by_vfio) continue;
        if (arguments.dry_run && (record || now.by_vfio)) {
            fmt::print("{}: {} -> {}\n", device, named(now.driver),
                       record ? named(record->driver) : "what the kernel chooses");
            print_plan(writes_to_unbind(device, now, record));
        }
        if (auto checked = check_unbind(kernel, device, now, record, arguments.force); !checked) {
            status = fail(kFailed, checked.error());
            continue;
        }
        if (arguments.dry_run) continue;
        if (auto done = rebinder.unbind(device); !done)
            status = fail(kFailed, done.error());
        else
            fmt::print("{}: {} -> {}\n", device, named(now.driver), named(driven(kernel, device).driver));
    }
    return status;
}

}  // namespace iommufd::inline v0_1::cli
