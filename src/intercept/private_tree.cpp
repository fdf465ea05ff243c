// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/private_tree.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace iommufd::inline v0_1::intercept {
namespace {

// 0, or an errno.
int make_entry(int folder, const std::string& path, const model::Tree::Entry& entry) {
    const char* const name = path.c_str() + 1;
    if (S_ISDIR(entry.mode)) return ::mkdirat(folder, name, 0755) < 0 ? errno : 0;
    if (S_ISLNK(entry.mode)) return ::symlinkat(entry.text.c_str(), folder, name) < 0 ? errno : 0;
    const sys::Fd file(sys::host_kernel(),
                       ::openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, entry.mode & 0777));
    if (!file) return errno;
    const ssize_t written = ::write(file.number(), entry.text.data(), entry.text.size());
    return written == static_cast<ssize_t>(entry.text.size()) ? 0 : written < 0 ? errno : ENOSPC;
}

constexpr std::string_view kName = "iommufd-model-";
constexpr std::time_t kYoung = 60;  // seconds: it may not be locked yet

// Whether a supervisor of this user had the folder, and was killed: it had it locked.
bool is_left(const std::filesystem::path& folder) {
    const sys::Fd opened(sys::host_kernel(),
                         ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status{};
    return opened && ::fstat(opened.number(), &status) == 0 && status.st_uid == ::geteuid() &&
           std::time(nullptr) - status.st_mtim.tv_sec > kYoung &&
           ::flock(opened.number(), LOCK_EX | LOCK_NB) == 0;
}

void remove_left(const std::string& place) {
    std::error_code error;
    for (std::filesystem::directory_iterator each(place, error), end; !error && each != end;
         each.increment(error)) {
        std::error_code ignored;
        if (each->path().filename().string().starts_with(kName) && is_left(each->path()))
            std::filesystem::remove_all(each->path(), ignored);
    }
}

}  // namespace

Result<PrivateTree> PrivateTree::make(const model::Tree& tree) {
    const char* const wanted = std::getenv("TMPDIR");
    const std::string place = wanted != nullptr && *wanted != '\0' ? wanted : "/tmp";
    remove_left(place);
    std::string root = (place + '/').append(kName) + "XXXXXX";
    const auto cannot = [&](int error) {
        return Error::refused(error, "cannot make the model's files in " + root,
                              "the folder can't be written to", "set TMPDIR to one that can");
    };
    if (::mkdtemp(root.data()) == nullptr) return cannot(errno);
    PrivateTree made(root);
    made.folder_ = sys::Fd(sys::host_kernel(), ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!made.folder_ || ::flock(made.folder_.number(), LOCK_EX | LOCK_NB) < 0) return cannot(errno);
    struct stat status{};
    if (::fstat(made.folder_.number(), &status) < 0) return cannot(errno);
    made.container_ = status.st_dev;
    int error = 0;
    tree.each([&](const std::string& path, const model::Tree::Entry& entry) {
        if (error == 0 && !path.empty()) error = make_entry(made.folder_.number(), path, entry);
    });
    if (error != 0) return cannot(error);
    std::error_code unknown;
    made.root_ = std::filesystem::canonical(root, unknown).string();
    return made;
}

PrivateTree::~PrivateTree() {
    if (!folder_) return;
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
}

int PrivateTree::open(const std::string& real, int flags) const {
    const char* const name = real.empty() ? "." : real.c_str() + 1;
    const int fd = ::openat(folder_.number(), name, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

std::string PrivateTree::path_of(std::string_view file) const {
    if (!file.starts_with(root_)) return {};
    file.remove_prefix(root_.size());
    if (file.empty()) return "/";
    return file.front() == '/' ? std::string(file) : std::string{};
}

}  // namespace iommufd::inline v0_1::intercept
