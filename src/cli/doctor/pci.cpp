// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fcntl.h>

#include <cstdint>
#include <sstream>

#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"
#include "host/first_line.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kAcs = "acs";

// Access Control Services of a port, in its configuration space.
enum class Acs : std::uint8_t { absent, off, on, unseen };

constexpr std::uint16_t kIsolation =
    0x1d;  // source validation, request and completion redirect, upstream forwarding

std::uint32_t word_at(const std::string& space, std::size_t offset) {
    std::uint32_t value = 0;
    for (std::size_t byte = 0; byte < 4; ++byte)
        value |= static_cast<std::uint32_t>(static_cast<unsigned char>(space[offset + byte])) << 8 * byte;
    return value;
}

Acs acs_of(const Machine& machine, const std::string& port) {
    constexpr std::size_t kExtended = 256;
    constexpr std::size_t kAll = 4096;
    constexpr std::uint32_t kAcsCapability = 0x0d;
    const auto space = content_of(machine.kernel, vfio::pci_folder(port) + "/config");
    if (!space || space->size() <= 64)
        return Acs::unseen;  // without CAP_SYS_ADMIN sysfs gives the first 64 bytes
    for (std::size_t offset = kExtended, most = 64;
         offset >= kExtended && offset + 8 <= space->size() && offset < kAll && most > 0; --most) {
        const std::uint32_t header = word_at(*space, offset);
        if ((header & 0xffff) == kAcsCapability)
            return (word_at(*space, offset + 4) >> 16 & kIsolation) == kIsolation ? Acs::on : Acs::off;
        offset = header >> 20;
    }
    return Acs::absent;
}

// The bridges before the device, by its place: "../../../devices/pci0000:00/0000:00:12.0/0000:01:00.0".
std::vector<std::string> ports_before(const Machine& machine) {
    std::string place;
    (void)machine.kernel.readlink(machine.device->folder.c_str(), place);
    std::vector<std::string> ports;
    std::istringstream parts(place);
    for (std::string part; std::getline(parts, part, '/');)
        if (vfio::parse_pci_address(part) && part != machine.device->address) ports.push_back(part);
    return ports;
}

}  // namespace

Findings check_acs(const Machine& machine) {
    if (machine.device->group.empty())
        return {{.verdict = Verdict::unseen,
                 .check = kAcs,
                 .evidence = "there is no group to be kept apart",
                 .fix = {}}};
    std::string text;
    bool hidden = false;
    bool all = true;
    for (const std::string& port : ports_before(machine)) {
        const Acs acs = acs_of(machine, port);
        hidden |= acs == Acs::unseen;
        all &= acs == Acs::on;
        text += compose(text.empty() ? "" : ", ", port,
                        acs == Acs::on       ? " isolates"
                        : acs == Acs::off    ? " has ACS turned off"
                        : acs == Acs::absent ? " has no ACS"
                                             : " not seen");
    }
    if (text.empty()) text = "no bridge is before it";
    const auto members = vfio::group_members(machine.kernel, machine.device->folder);
    if (members.size() < 2)
        return {{.verdict = Verdict::pass,
                 .check = kAcs,
                 .evidence = compose("the device is alone in its group; ", text),
                 .fix = {}}};
    if (hidden)
        return {{.verdict = Verdict::unseen,
                 .check = kAcs,
                 .evidence = compose(
                     "the configuration space of the ports before it can be read by root only: ", text),
                 .fix = "run it as root"}};
    return {
        {.verdict = Verdict::warn,
         .check = kAcs,
         .evidence = compose("the devices of its group are not kept apart: ", text,
                             all ? "; they are functions, or behind one bridge" : ""),
         .fix = "give the whole group (`iommufd bind --group`), or put the device into a slot of its own"}};
}

Findings check_reset(const Machine& machine) {
    const std::string path = machine.device->folder + "/reset_method";
    const std::string methods = host::first_line(machine.kernel, path);
    if (!methods.empty())
        return {{.verdict = Verdict::pass,
                 .check = "reset",
                 .evidence = compose(methods, " (reset_method)"),
                 .fix = {}}};
    return {{.verdict = Verdict::warn,
             .check = "reset",
             .evidence = compose(machine.device->address,
                                 " has no reset method: what one user left in it is there for the next"),
             .fix = "give it to users that trust each other, or take its power off between them"}};
}

Findings check_reserved_ranges(const Machine& machine) {
    constexpr const char* kCheck = "reserved-ranges";
    if (machine.device->group.empty())
        return {{.verdict = Verdict::unseen,
                 .check = kCheck,
                 .evidence = "without an IOMMU group there are none",
                 .fix = {}}};
    const std::string path = compose("/sys/kernel/iommu_groups/", machine.device->group, "/reserved_regions");
    const auto content = content_of(machine.kernel, path);
    if (!content)
        return {{.verdict = Verdict::unseen,
                 .check = kCheck,
                 .evidence = compose(path, " can't be read"),
                 .fix = {}}};
    std::istringstream lines(*content);
    std::string text;
    bool direct = false;
    for (std::string first, last, kind; lines >> first >> last >> kind;) {
        direct |= kind == "direct";
        text += compose(text.empty() ? "" : ", ", first, " to ", last, " ", kind);
    }
    if (direct)
        return {{.verdict = Verdict::fail,
                 .check = kCheck,
                 .evidence = compose(
                     "the firmware uses memory through this device (direct), so the kernel keeps it: ", text),
                 .fix = "turn the firmware's use of it off (legacy USB, management controller), or use "
                        "another device"}};
    return {{.verdict = Verdict::pass, .check = kCheck, .evidence = text.empty() ? "none" : text, .fix = {}}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
