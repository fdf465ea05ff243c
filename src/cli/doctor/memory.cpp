// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <sys/sysmacros.h>

#include <algorithm>
#include <sstream>

#include "cli/doctor/checks.hpp"
#include "error/compose.hpp"
#include "host/device_nodes.hpp"
#include "iommufd/backend/backend.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

constexpr const char* kMemlock = "memlock";

std::string limit_text(std::optional<std::uint64_t> limit) { return limit ? size_text(*limit) : "unlimited"; }

// "Max locked memory         8388608              8388608              bytes"
std::optional<std::uint64_t> hard_limit(sys::Kernel& kernel, bool& unlimited) {
    constexpr std::string_view kKey = "Max locked memory";
    const std::string limits = content_of(kernel, "/proc/self/limits").value_or("");
    const std::size_t at = limits.find(kKey);
    unlimited = false;
    if (at == std::string::npos) return std::nullopt;
    std::istringstream words(limits.substr(at + kKey.size()));
    std::string soft;
    std::string hard;
    words >> soft >> hard;
    unlimited = hard == "unlimited";
    if (unlimited) return std::nullopt;
    return std::stoull(hard);
}

// The lines of a file that have one of these words and are no comments, with their place.
void add_lines(sys::Kernel& kernel, const std::string& path, std::string_view word, std::string& text) {
    std::istringstream lines(content_of(kernel, path).value_or(""));
    for (std::string line; std::getline(lines, line);) {
        const std::size_t start = line.find_first_not_of(" \t");
        if (start == std::string::npos || line[start] == '#' || !line.contains(word)) continue;
        text += compose(text.empty() ? "" : "; ", path, ": ", line.substr(start));
    }
}

void add_folder(sys::Kernel& kernel, const std::string& path, std::string_view word, std::string& text) {
    for (const std::string& name : names_in(kernel, path))
        if (name.ends_with(".conf")) add_lines(kernel, compose(path, "/", name), word, text);
}

// Where limits are set for those who log in and for units: what is set there.
std::string limits_set(sys::Kernel& kernel) {
    std::string text;
    add_lines(kernel, "/etc/security/limits.conf", "memlock", text);
    add_folder(kernel, "/etc/security/limits.d", "memlock", text);
    for (const char* const manager : {"system", "user"}) {
        add_lines(kernel, compose("/etc/systemd/", manager, ".conf"), "DefaultLimitMEMLOCK", text);
        add_folder(kernel, compose("/etc/systemd/", manager, ".conf.d"), "DefaultLimitMEMLOCK", text);
    }
    return text;
}

// The unit in whose cgroup this process is: "vm.service"; empty where there is none.
std::string unit_of(sys::Kernel& kernel) {
    std::istringstream parts(line_of(kernel, "/proc/self/cgroup"));
    std::string unit;
    for (std::string part; std::getline(parts, part, '/');)
        if (part.ends_with(".service")) unit = part;
    return unit;
}

std::string raise(sys::Kernel& kernel, unsigned user, std::uint64_t bytes) {
    const std::string unit = unit_of(kernel);
    // user@1000.service is what a login's own programs run under, whose limit PAM gives.
    if (!unit.empty() && !unit.starts_with("user@"))
        return compose("LimitMEMLOCK=", bytes, " in `systemctl edit ", unit, "`, and start it again");
    return compose("`prlimit --pid $$ --memlock=", bytes, "` as root for this shell; for good: `echo '", user,
                   " - memlock ", (bytes + 1023) >> 10,
                   "' > /etc/security/limits.d/iommufd.conf`, and log in again");
}

}  // namespace

Findings check_memlock(const Machine& machine) {
    if (!machine.process)
        return {
            {.verdict = Verdict::unseen, .check = kMemlock, .evidence = "/proc is not mounted", .fix = {}}};
    const host::Process& process = *machine.process;
    bool unlimited = false;
    const auto hard = hard_limit(machine.kernel, unlimited);
    const std::string set = limits_set(machine.kernel);
    const std::string in_force =
        compose("RLIMIT_MEMLOCK is ", limit_text(process.memlock_limit), " (hard ",
                unlimited ? "unlimited" : limit_text(hard), ")", set.empty() ? "" : "; ", set);
    if (process.cap_ipc_lock)
        return {{.verdict = Verdict::pass,
                 .check = kMemlock,
                 .evidence = compose("user ", machine.user,
                                     " has CAP_IPC_LOCK, so /dev/iommu asks for no limit; ", in_force),
                 .fix = {}}};
    if (!process.memlock_limit || *process.memlock_limit >= machine.memory)
        return {{.verdict = Verdict::pass,
                 .check = kMemlock,
                 .evidence = compose(in_force, ", enough for ", size_text(machine.memory)),
                 .fix = {}}};
    const bool allowed = unlimited || (hard && *hard >= machine.memory);
    return {{.verdict = Verdict::fail,
             .check = kMemlock,
             .evidence = compose(in_force, ": too little for ", size_text(machine.memory), " of memory"),
             .fix = allowed ? compose("ulimit -l ", (machine.memory + 1023) >> 10)
                            : raise(machine.kernel, machine.user, machine.memory)}};
}

Findings check_accounting(const Machine& machine) {
    constexpr const char* kCheck = "accounting";
    auto backend = Backend::open({.id = "doctor", .fd = {}, .report = {}, .kernel = &machine.kernel});
    const auto mode = backend ? backend->accounting() : Result<Accounting>(backend.error());
    if (!mode)
        return {{.verdict = Verdict::unseen,
                 .check = kCheck,
                 .evidence = "without /dev/iommu the kernel can't be asked",
                 .fix = {}}};
    switch (*mode) {
        case Accounting::none:
            return {
                {.verdict = Verdict::pass, .check = kCheck, .evidence = "none (CAP_IPC_LOCK)", .fix = {}}};
        case Accounting::per_process:
            return {{.verdict = Verdict::pass,
                     .check = kCheck,
                     .evidence = "per process: each has RLIMIT_MEMLOCK for itself",
                     .fix = {}}};
        case Accounting::per_user:
            break;
    }
    std::string others;
    const std::string number = line_of(machine.kernel, "/sys/class/misc/iommu/dev");
    if (const std::size_t colon = number.find(':'); colon != std::string::npos) {
        const auto nodes = std::vector<host::DeviceNode>{
            {.name = "iommu",
             .number = makedev(static_cast<unsigned>(std::stoul(number)),
                               static_cast<unsigned>(std::stoul(number.substr(colon + 1)))),
             .is_block = false}};
        if (const auto openers = host::openers(machine.kernel, nodes))
            for (const host::Opener& opener : *openers)
                others += compose(others.empty() ? "" : ", ", host::text(opener));
    }
    if (others.empty())
        return {{.verdict = Verdict::pass,
                 .check = kCheck,
                 .evidence = compose("per user: all programs of user ", machine.user,
                                     " share RLIMIT_MEMLOCK, and no other has /dev/iommu open"),
                 .fix = {}}};
    return {{.verdict = Verdict::warn,
             .check = kCheck,
             .evidence =
                 compose("per user: what other programs pin counts against RLIMIT_MEMLOCK as well; ", others),
             .fix = "let root open /dev/iommu with accounting per process: `iommufd exec` does"}};
}

Findings check_huge_pages(const Machine& machine) {
    constexpr const char* kCheck = "huge-pages";
    const std::string transparent = line_of(machine.kernel, "/sys/kernel/mm/transparent_hugepage/enabled");
    std::string pools;
    for (const std::string& size : names_in(machine.kernel, "/sys/kernel/mm/hugepages")) {
        const std::string folder = compose("/sys/kernel/mm/hugepages/", size);
        const std::string count = line_of(machine.kernel, folder + "/nr_hugepages");
        if (!count.empty() && count != "0")
            pools += compose("; ", size, ": ", count, ", ",
                             line_of(machine.kernel, folder + "/free_hugepages"), " free");
    }
    const std::string evidence = compose("transparent: ", transparent.empty() ? "none" : transparent, pools);
    if (pools.empty() && (transparent.empty() || transparent.contains("[never]")))
        return {{.verdict = Verdict::warn,
                 .check = kCheck,
                 .evidence = compose(evidence, "; there are none, so large memory takes longer to map"),
                 .fix = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"}};
    return {{.verdict = Verdict::pass, .check = kCheck, .evidence = evidence, .fix = {}}};
}

}  // namespace iommufd::inline v0_1::cli::doctor
