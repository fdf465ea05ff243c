// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/memlock.hpp"

#include <sstream>

#include "cli/doctor/machine.hpp"
#include "error/compose.hpp"
#include "host/first_line.hpp"
#include "iommufd/host/process.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

std::string limit_text(std::optional<std::uint64_t> limit) { return limit ? size_text(*limit) : "unlimited"; }

// "Max locked memory         8388608              8388608              bytes"
std::optional<std::uint64_t> hard_limit(sys::Kernel& kernel) {
    constexpr std::string_view kKey = "Max locked memory";
    const std::string limits = content_of(kernel, "/proc/self/limits").value_or("");
    const std::size_t at = limits.find(kKey);
    if (at == std::string::npos) return std::nullopt;
    std::istringstream words(limits.substr(at + kKey.size()));
    std::string soft;
    std::uint64_t hard = 0;
    if (words >> soft >> hard) return hard;
    return std::nullopt;
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
    std::istringstream parts(host::first_line(kernel, "/proc/self/cgroup"));
    std::string unit;
    for (std::string part; std::getline(parts, part, '/');)
        if (part.ends_with(".service")) unit = part;
    return unit;
}

}  // namespace

Result<Memlock> memlock(sys::Kernel& kernel) {
    const auto process = host::process(kernel);
    if (!process) return process.error();
    return Memlock{.soft = process->memlock_limit,
                   .hard = hard_limit(kernel),
                   .excused = process->cap_ipc_lock,
                   .set = limits_set(kernel),
                   .unit = unit_of(kernel),
                   .user = effective_user(kernel)};
}

std::string text(const Memlock& memlock) {
    return compose("RLIMIT_MEMLOCK is ", limit_text(memlock.soft), " (hard ", limit_text(memlock.hard), ")",
                   memlock.set.empty() ? "" : "; ", memlock.set);
}

std::string how_to_raise(const Memlock& memlock, std::uint64_t bytes) {
    const std::uint64_t kibibytes = (bytes + 1023) >> 10;
    if (!memlock.hard || *memlock.hard >= bytes) return compose("ulimit -l ", kibibytes);
    // user@1000.service is what a login's own programs run under, whose limit PAM gives.
    if (!memlock.unit.empty() && !memlock.unit.starts_with("user@"))
        return compose("LimitMEMLOCK=", bytes, " in `systemctl edit ", memlock.unit, "`, and start it again");
    return compose("`prlimit --pid $$ --memlock=", bytes, "` as root for this shell; for good: `echo '",
                   memlock.user, " - memlock ", kibibytes,
                   "' > /etc/security/limits.d/iommufd.conf`, and log in again");
}

}  // namespace iommufd::inline v0_1::cli::doctor
