// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Files of /proc in which the model stands: how much a process has pinned and locked, what its descriptors are, and which
// allocation is to fail.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdio>

#include "intercept/supervisor.hpp"
#include "model/open_again.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

// A number that stands at the start of the text, and is taken from it; -1: none.
pid_t take_number(std::string_view& text) {
    pid_t number = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number <= 0) return -1;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return number;
}

// The file's content, as it is now. Empty where it can't be read.
std::string content_of(const std::string& path) {
    const sys::Fd file(sys::host_kernel(), ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string content;
    std::array<char, 4096> part{};
    for (ssize_t length = 1; file && length > 0;) {
        length = ::read(file.number(), part.data(), part.size());
        if (length > 0) content.append(part.data(), static_cast<std::size_t>(length));
    }
    return content;
}

// In the line "Name:\t     123 kB".
void add_to_line(std::string& content, std::string_view name, std::uint64_t pages) {
    const std::size_t line = content.find('\n' + std::string(name) + ':');
    if (line == content.npos) return;
    const std::size_t number = content.find_first_not_of(" \t", line + name.size() + 2);
    const std::size_t end = content.find(" kB", line);
    std::uint64_t before = 0;
    (void)std::from_chars(content.data() + number, content.data() + end, before);
    std::array<char, 32> sum{};
    const int length =
        std::snprintf(sum.data(), sum.size(), "\t%8llu",
                      static_cast<unsigned long long>(before + pages * (model::user::kPage / 1024)));
    const std::size_t tab = line + name.size() + 2;
    content.replace(tab, end - tab, sum.data(), static_cast<std::size_t>(length));
}

}  // namespace

std::optional<pid_t> Supervisor::named_in_proc(const Tracee& tracee, std::string_view text,
                                               std::string_view file) const {
    constexpr std::string_view kRoot = "/proc/";
    if (!text.starts_with(kRoot) || !text.ends_with(file)) return {};
    const std::string path = tidy(text);
    std::string_view rest = std::string_view(path).substr(kRoot.size());
    pid_t named = -1;
    for (const std::string_view self : {std::string_view("self"), std::string_view("thread-self")})
        if (rest.starts_with(self)) {
            rest.remove_prefix(self.size());
            named = self == "self" ? process_of(tracee.thread()) : tracee.thread();
        }
    if (named < 0) named = take_number(rest);
    constexpr std::string_view kTask = "/task/";
    if (named > 0 && rest.starts_with(kTask)) {
        rest.remove_prefix(kTask.size());
        named = take_number(rest);
    }
    if (named < 0 || rest != file) return {};
    // Its numbers are those of this process only in the same namespace.
    const bool same = tracee.link("root") == "/" && tracee.link("ns/pid") == own_pids_;
    return same ? std::optional(named) : std::nullopt;
}

std::string Supervisor::shown_in_proc(const Tracee& tracee, std::string_view text) const {
    const std::size_t slash = text.rfind('/');
    if (slash == text.npos) return {};
    const std::string file = std::string("/fd").append(text.substr(slash));
    const auto thread = named_in_proc(tracee, text, file);
    struct stat found{};
    if (!thread) return {};
    const std::string path = proc_path(*thread, file.substr(1));
    if (::stat(path.c_str(), &found) < 0) return {};
    std::array<char, PATH_MAX> link{};
    const ssize_t length = ::readlink(path.c_str(), link.data(), link.size());
    if (length < 0 || !tracee.waits()) return {};
    const std::string_view target(link.data(), static_cast<std::size_t>(length));
    return inside_.files.find(model::identity_of(found)) ? std::string(node_of(target))
                                                         : files_.path_of(target);
}

Answer Supervisor::open_fail_nth(Tracee& tracee, pid_t thread, int flags) {
    if ((flags & (O_PATH | O_DIRECTORY)) != 0) return Answer::from_kernel();
    if (process_of(thread) < 0) return {.value = -ENOENT};
    if ((flags & O_CLOEXEC) == 0) tracee.give_across_exec();
    return {.value = inside_.files.install(fail_nth_.open(thread), "fail-nth", 0)};
}

Answer Supervisor::open_status(Tracee& tracee, pid_t thread, int flags) {
    if ((flags & (O_ACCMODE | O_PATH | O_CREAT | O_DIRECTORY)) != O_RDONLY) return Answer::from_kernel();
    const pid_t process = process_of(thread);
    memories_.forget_ended(process);
    const auto memory = memories_.known(process);
    if (!memory) return Answer::from_kernel();
    const model::PinCount pins = inside_.accountant.of(memory->pins());
    if (pins.pinned == 0 && pins.locked == 0) return Answer::from_kernel();
    std::string content = content_of(proc_path(thread, "status"));
    if (content.empty() || !tracee.waits()) return Answer::from_kernel();
    add_to_line(content, "VmLck", pins.locked);
    add_to_line(content, "VmPin", pins.pinned);
    const sys::Fd made(sys::host_kernel(), ::memfd_create("status", MFD_CLOEXEC));
    if (!made ||
        ::pwrite(made.number(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size()))
        return {.value = -ENOMEM};
    const sys::Fd own(sys::host_kernel(), model::open_again(made.number(), O_RDONLY));
    if (!own) return {.value = -EMFILE};
    return {.value = tracee.give_copy(own.number(), (flags & O_CLOEXEC) != 0)};
}

}  // namespace iommufd::inline v0_1::intercept
