// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/host/process.hpp"

#include <charconv>
#include <string>
#include <string_view>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::host {
namespace {

constexpr unsigned kCapIpcLock = 14;
constexpr unsigned kCapSysResource = 24;

// The rest of the line that starts with `key`, without leading blanks; empty where there is none.
std::string_view value_of(std::string_view file, std::string_view key) {
    std::size_t start = file.starts_with(key) ? 0 : file.find("\n" + std::string(key));
    if (start == std::string_view::npos) return {};
    start += key.size() + (start == 0 ? 0 : 1);
    std::string_view line = file.substr(start, file.find('\n', start) - start);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return line;
}

std::optional<std::uint64_t> number(std::string_view text, int base = 10) {
    std::uint64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (result.ec != std::errc()) return std::nullopt;
    return value;
}

// "0 0 4294967295": every user is itself.
bool is_identity(std::string_view uid_map) {
    for (const std::string_view expected : {"0", "0", "4294967295"}) {
        uid_map.remove_prefix(std::min(uid_map.find_first_not_of(" \t\n"), uid_map.size()));
        const std::size_t end = std::min(uid_map.find_first_of(" \t\n"), uid_map.size());
        if (uid_map.substr(0, end) != expected) return false;
        uid_map.remove_prefix(end);
    }
    return uid_map.find_first_not_of(" \t\n") == std::string_view::npos;
}

Result<std::string> read(sys::Kernel& kernel, const char* path) {
    std::string content;
    if (const int result = kernel.read_file(path, content); result < 0)
        return failed(Operation::read, -result, [&] { return compose("cannot read ", path); });
    return content;
}

Result<std::uint64_t> memory(sys::Kernel& kernel, std::string_view line) {
    return guarded(Operation::read, [&]() -> Result<std::uint64_t> {
        const auto file = read(kernel, "/proc/meminfo");
        if (!file) return file.error();
        const auto kibibytes = number(value_of(*file, compose(line, ":")));
        if (!kibibytes)
            return failed(Operation::read, ENOENT,
                          [&] { return compose("cannot find ", line, " in /proc/meminfo"); });
        return *kibibytes << 10;
    });
}

}  // namespace

Result<Process> process(sys::Kernel& kernel) {
    return guarded(Operation::read, [&]() -> Result<Process> {
        auto status = read(kernel, "/proc/self/status");
        if (!status) return status.error();
        auto limits = read(kernel, "/proc/self/limits");
        if (!limits) return limits.error();
        // Capabilities of another user namespace are none to iommufd, which asks for those of the first (capable()).
        std::string users;
        const bool first = kernel.read_file("/proc/self/uid_map", users) < 0 || is_identity(users);
        const std::uint64_t capabilities = first ? number(value_of(*status, "CapEff:"), 16).value_or(0) : 0;
        return Process{.pinned = number(value_of(*status, "VmPin:")).value_or(0) << 10,
                       .locked = number(value_of(*status, "VmLck:")).value_or(0) << 10,
                       .memlock_limit = number(value_of(*limits, "Max locked memory")),
                       .cap_ipc_lock = (capabilities >> kCapIpcLock & 1) != 0,
                       .cap_sys_resource = (capabilities >> kCapSysResource & 1) != 0};
    });
}

Result<std::uint64_t> total_memory(sys::Kernel& kernel) { return memory(kernel, "MemTotal"); }
Result<std::uint64_t> available_memory(sys::Kernel& kernel) { return memory(kernel, "MemAvailable"); }

}  // namespace iommufd::inline v0_1::host
