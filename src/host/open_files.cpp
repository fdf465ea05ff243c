// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/open_files.hpp"

#include <unistd.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/first_line.hpp"

namespace iommufd::inline v0_1::host {
namespace {

std::optional<int> number(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

Result<void> each_open_file(sys::Kernel& kernel, const std::function<bool(const OpenFile&)>& see) {
    return guarded(Operation::read, [&]() -> Result<void> {
        std::vector<std::string> processes;
        if (const int result = kernel.readdir("/proc", processes); result < 0)
            return failed(Operation::read, -result, [] { return std::string("cannot read /proc"); });
        for (const std::string& name : processes) {
            const auto process = number(name);
            if (!process || *process == ::getpid()) continue;
            const std::string folder = compose("/proc/", name, "/fd");
            std::vector<std::string> descriptors;
            if (kernel.readdir(folder.c_str(), descriptors) < 0) continue;  // not ours to look at, or gone
            for (const std::string& descriptor : descriptors) {
                const auto its = number(descriptor);
                OpenFile file{.process = *process,
                              .descriptor = its.value_or(-1),
                              .link = compose(folder, "/", descriptor),
                              .path = {}};
                if (!its || kernel.readlink(file.link.c_str(), file.path) < 0) continue;
                if (file.path.starts_with("/dev/") && see(file)) break;
            }
        }
        return {};
    });
}

std::string program_of(sys::Kernel& kernel, int process) {
    return first_line(kernel, compose("/proc/", process, "/comm"));
}

}  // namespace iommufd::inline v0_1::host
