// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Calls that name a path of the model. Any other path is the kernel's, which then reads it again: what a program makes
// of it meanwhile is its own affair.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "intercept/supervisor.hpp"

namespace iommufd::inline v0_1::intercept {

std::string Supervisor::path_at(Tracee& tracee, int folder, std::uint64_t address) {
    std::string text;
    return tracee.copy_text(text, address, PATH_MAX) < 0 ? std::string{} : paths_.find(tracee, folder, text);
}

Answer Supervisor::open(Tracee& tracee, int folder, std::uint64_t address, int flags) {
    std::string text;
    if (tracee.copy_text(text, address, PATH_MAX) < 0) return Answer::from_kernel();
    if (const std::string path = paths_.find(tracee, folder, text); !path.empty())
        return open_entry(tracee, path, flags);
    if (const auto thread = named_in_proc(tracee, text, "/status"))
        return open_status(tracee, *thread, flags);
    if (fail_nth_.exists())
        if (const auto thread = named_in_proc(tracee, text, "/fail-nth"))
            return open_fail_nth(tracee, *thread, flags);
    return Answer::from_kernel();
}

Answer Supervisor::openat2(Tracee& tracee, int folder, std::uint64_t address, std::uint64_t how,
                           std::uint64_t size) {
    const std::string path = path_at(tracee, folder, address);
    if (path.empty()) return Answer::from_kernel();
    open_how wanted{};
    if (size < sizeof wanted) return {.value = -EINVAL};
    if (const int rc = model::user::copy_struct_from(&wanted, sizeof wanted, how, size); rc < 0)
        return {.value = rc};
    return open_entry(tracee, path, static_cast<int>(wanted.flags));
}

Answer Supervisor::open_entry(Tracee& tracee, const std::string& path, int flags) {
    const bool follow = (flags & O_NOFOLLOW) == 0;
    const model::Tree::Entry* entry = nullptr;
    if (const int rc = inside_.tree.find(path, follow, entry); rc < 0) return {.value = rc};
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return {.value = -EEXIST};
    const bool close_on_exec = (flags & O_CLOEXEC) != 0;
    if (S_ISCHR(entry->mode) && (flags & O_PATH) == 0) {
        if ((flags & O_DIRECTORY) != 0) return {.value = -ENOTDIR};
        std::shared_ptr<model::File> file;
        if (const int rc = entry->open(file); rc < 0) return {.value = rc};
        if (!close_on_exec) tracee.give_across_exec();
        return {.value = inside_.files.install(std::move(file), path.c_str(), entry->device)};
    }
    const int change = (flags & O_PATH) == 0 ? flags & (O_ACCMODE | O_TRUNC) : O_RDONLY;
    if (change != O_RDONLY && (entry->mode & S_IFMT) == S_IFDIR) return {.value = -EISDIR};
    if (change != O_RDONLY && (entry->mode & S_IWUSR) == 0) return {.value = -EACCES};
    std::string real;
    if (const int rc = inside_.tree.resolve(path, follow, real); rc < 0) return {.value = rc};
    // O_PATH descriptors can't be handed over; one for reading can do what they can. A link has none (ELOOP).
    const sys::Fd own(sys::host_kernel(),
                      files_.open(real, change | (flags & (O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK))));
    if (!own) return {.value = own.number()};
    return {.value = tracee.give_copy(own.number(), close_on_exec)};
}

Answer Supervisor::access(Tracee& tracee, int folder, std::uint64_t address, int mode, bool follow) {
    const std::string path = path_at(tracee, folder, address);
    if (path.empty()) return Answer::from_kernel();
    const model::Tree::Entry* entry = nullptr;
    if (const int rc = inside_.tree.find(path, follow, entry); rc < 0) return {.value = rc};
    const bool writable = !S_ISREG(entry->mode) || (entry->mode & S_IWUSR) != 0;
    const bool searchable = S_ISDIR(entry->mode);
    const bool allowed = ((mode & W_OK) == 0 || writable) && ((mode & X_OK) == 0 || searchable);
    return {.value = allowed ? 0 : -EACCES};
}

Answer Supervisor::readlink(Tracee& tracee, int folder, std::uint64_t address, std::uint64_t buffer,
                            std::uint64_t size) {
    std::string text;
    if (tracee.copy_text(text, address, PATH_MAX) < 0) return Answer::from_kernel();
    std::string target = shown_in_proc(tracee, text);
    if (target.empty()) {
        const std::string path = paths_.find(tracee, folder, text);
        if (path.empty()) return Answer::from_kernel();
        if (const int rc = inside_.tree.readlink(path, target); rc < 0) return {.value = rc};
    }
    if (static_cast<int>(size) <= 0) return {.value = -EINVAL};
    const std::size_t length = std::min<std::size_t>(target.size(), size);
    if (const int rc = tracee.copy_to(buffer, target.data(), length); rc < 0) return {.value = rc};
    return {.value = static_cast<std::int64_t>(length)};
}

}  // namespace iommufd::inline v0_1::intercept
