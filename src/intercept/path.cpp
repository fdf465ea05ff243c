// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/path.hpp"

#include <fcntl.h>

namespace iommufd::inline v0_1::intercept {
namespace {

template <class Visit>
void each_component(std::string_view path, Visit&& visit) {
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string_view component = path.substr(0, slash);
        if (!component.empty() && component != ".") visit(component);
        path = slash == path.npos ? std::string_view{} : path.substr(slash + 1);
    }
}

}  // namespace

std::string tidy(std::string_view path) {
    std::string tidied;
    each_component(path, [&](std::string_view component) { tidied.append("/").append(component); });
    if (path.ends_with('/') || path.ends_with("/.")) tidied += '/';
    return tidied.empty() ? "/" : tidied;
}

std::string fold(std::string_view tidied) {
    std::string folded;
    each_component(tidied, [&](std::string_view component) {
        if (component != "..")
            folded.append("/").append(component);
        else if (!folded.empty())
            folded.erase(folded.rfind('/'));
    });
    return folded.empty() ? "/" : folded;
}

std::string_view node_of(std::string_view link) {
    constexpr std::string_view kMemfd = "/memfd:";
    if (link.starts_with(kMemfd)) link.remove_prefix(kMemfd.size());
    return link.substr(0, link.rfind(" (deleted)"));
}

std::string Paths::find(const Tracee& tracee, int folder, std::string_view text) const {
    if (text.empty()) return {};
    std::string whole;
    if (text.front() != '/') {
        const std::string base = tracee.link(folder == AT_FDCWD ? "cwd" : "fd/" + std::to_string(folder));
        if (!base.starts_with('/')) return {};
        const std::string of_model = files_.path_of(base);
        whole = (of_model.empty() ? base : of_model) + '/';
    }
    whole.append(text);
    std::string tidied = tidy(whole);
    if (!tree_.covers(tidied)) {
        if (!tidied.contains("/..")) return {};
        tidied = fold(tidied);
        if (!tree_.covers(tidied)) return {};
    }
    return tracee.link("root") == "/" ? tidied : std::string{};
}

std::string Paths::of_descriptor(const Tracee& tracee, int fd) const {
    return fd < 0 ? std::string{} : files_.path_of(tracee.link("fd/" + std::to_string(fd)));
}

}  // namespace iommufd::inline v0_1::intercept
