// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "host/holders.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::host {
namespace {

std::optional<int> number(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

Result<std::vector<Holder>> other_holders(sys::Kernel& kernel, int fd) {
    return guarded(Operation::read, [&]() -> Result<std::vector<Holder>> {
        std::vector<Holder> holders;
        std::string ours;
        const std::string link = compose("/proc/self/fd/", fd);
        if (const int result = kernel.readlink(link.c_str(), ours); result < 0)
            return failed(Operation::read, -result, [&] { return compose("cannot read ", link); });
        if (!ours.starts_with("/dev/")) return holders;  // a model's, which no other process can have
        std::vector<std::string> processes;
        if (const int result = kernel.readdir("/proc", processes); result < 0)
            return failed(Operation::read, -result, [] { return std::string("cannot read /proc"); });
        for (const std::string& name : processes) {
            const auto process = number(name);
            if (!process || *process == ::getpid()) continue;
            const std::string folder = compose("/proc/", name, "/fd");
            std::vector<std::string> descriptors;
            if (kernel.readdir(folder.c_str(), descriptors) < 0) continue;  // not ours to look at, or gone
            const bool has_it = std::ranges::any_of(descriptors, [&](const std::string& descriptor) {
                const auto its = number(descriptor);
                std::string target;
                return its && kernel.readlink(compose(folder, "/", descriptor).c_str(), target) >= 0 &&
                       target == ours && kernel.shares_file(*process, *its, fd) == 1;
            });
            if (!has_it) continue;
            std::string program;
            (void)kernel.read_file(compose("/proc/", name, "/comm").c_str(), program);
            program.erase(std::min(program.find('\n'), program.size()));
            holders.push_back({.process = *process, .name = std::move(program)});
        }
        return holders;
    });
}

}  // namespace iommufd::inline v0_1::host
