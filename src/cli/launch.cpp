// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/launch.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "cli/exec.hpp"
#include "cli/fail.hpp"
#include "cli/placeholders.hpp"
#include "error/compose.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::string_view kVfioFd = "IOMMUFD_VFIO_FD_";

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    return pointers;
}

}  // namespace

std::string full_name(std::string_view where) {
    while (where.size() > 1 && where.ends_with('/')) where.remove_suffix(1);
    return vfio::full_name(vfio::base_name(where));
}

Result<std::vector<std::string>> name_descriptors(const std::vector<std::string>& words, int iommufd,
                                                  const std::vector<PassedDevice>& devices, int memory) {
    return fill_in(words, [&](std::string_view inside) -> std::optional<int> {
        if (inside == "iommufd") return iommufd < 0 ? std::nullopt : std::optional(iommufd);
        if (inside == "memory") return memory < 0 ? std::nullopt : std::optional(memory);
        const bool is_vdpa = inside.starts_with("vdpa:");
        if (!is_vdpa && !inside.starts_with("vfio:")) return std::nullopt;
        inside = inside.substr(5);
        const std::string name = is_vdpa ? std::string(inside) : full_name(inside);
        const auto device = std::ranges::find_if(devices, [&](const PassedDevice& passed) {
            return passed.is_vdpa == is_vdpa && passed.name == name;
        });
        return device == devices.end() ? std::nullopt : std::optional(device->fd);
    });
}

std::vector<std::string> environment(int iommufd, const std::vector<PassedDevice>& devices,
                                     const Account* account) {
    std::vector<std::string> ours;
    if (iommufd >= 0) ours.push_back(compose("IOMMUFD_FD=", iommufd));
    std::string all;
    std::string vdpa;
    for (const PassedDevice& device : devices) {
        if (device.is_vdpa) {
            vdpa += compose(vdpa.empty() ? "" : ",", device.name, "=", device.fd);
            continue;
        }
        all += compose(all.empty() ? "" : ",", device.name, "=", device.fd);
        std::string variable = compose(kVfioFd, device.name);
        std::ranges::replace_if(variable, [](char c) { return c == ':' || c == '.' || c == '-'; }, '_');
        ours.push_back(compose(variable, "=", device.fd));
    }
    ours.push_back(compose("IOMMUFD_VFIO_FDS=", all));
    if (!vdpa.empty()) ours.push_back(compose("IOMMUFD_VDPA_FDS=", vdpa));
    if (account && !account->name.empty())
        for (const auto& [name, value] :
             {std::pair("HOME", account->home), std::pair("SHELL", account->shell),
              std::pair("USER", account->name), std::pair("LOGNAME", account->name)})
            ours.push_back(compose(name, "=", value));
    const auto name_of = [](std::string_view entry) { return entry.substr(0, entry.find('=')); };
    const std::size_t count = ours.size();
    for (char** entry = environ; *entry; ++entry) {
        const std::string_view theirs = *entry;
        const bool is_ours =
            std::ranges::any_of(ours.begin(), ours.begin() + static_cast<std::ptrdiff_t>(count),
                                [&](const std::string& own) { return name_of(own) == name_of(theirs); });
        // What an `iommufd exec` around this one named is closed.
        if (!is_ours && !theirs.starts_with(kVfioFd)) ours.emplace_back(theirs);
    }
    return ours;
}

int start(std::vector<std::string> words, std::vector<std::string> environment) {
    ::execvpe(words[0].c_str(), pointers(words).data(), pointers(environment).data());
    const int code = errno;
    return fail(code == ENOENT ? kNotFound : kNotStarted,
                Error::refused(
                    code, compose("cannot start '", words[0], "'"),
                    code == ENOENT ? "there is no such program, or its interpreter is missing"
                                   : "the user that it would run as may not, or it is no program",
                    "give a program that this user can start; PATH is searched for a name without a slash"));
}

}  // namespace iommufd::inline v0_1::cli
