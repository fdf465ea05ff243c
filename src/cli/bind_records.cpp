// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/bind_records.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::string_view kDriver = "driver=";
constexpr std::string_view kOverride = "driver_override=";

Error cannot_write(const std::string& path, int code) {
    return Error::refused(
        code, compose("cannot write ", path), "what the device was before can't be remembered",
        code == EACCES || code == EPERM ? "run as root" : "make room in /run, or mount it writable");
}

}  // namespace

BindRecords::BindRecords(std::string_view folder) : folder_(folder) {}

BindRecords::~BindRecords() {
    if (lock_ >= 0) ::close(lock_);
}

std::string BindRecords::path(std::string_view device) const { return compose(folder_, "/", device); }

Result<void> BindRecords::lock() {
    for (std::size_t slash = folder_.find('/', 1);; slash = folder_.find('/', slash + 1)) {
        const std::string part = folder_.substr(0, slash);
        if (::mkdir(part.c_str(), 0755) < 0 && errno != EEXIST) return cannot_write(part, errno);
        if (slash == std::string::npos) break;
    }
    lock_ = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock_ < 0) return cannot_write(folder_, errno);
    if (::flock(lock_, LOCK_EX | LOCK_NB) < 0)
        return Error::refused(EBUSY, compose("cannot lock ", folder_),
                              "another `iommufd bind` or `unbind` is at work", "wait until it has ended");
    return {};
}

std::optional<BindRecord> BindRecords::find(std::string_view device) const {
    std::ifstream file(path(device));
    if (!file) return std::nullopt;
    BindRecord record;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(kDriver)) record.driver = line.substr(kDriver.size());
        if (line.starts_with(kOverride)) record.driver_override = line.substr(kOverride.size());
    }
    return record;
}

Result<void> BindRecords::save(std::string_view device, const BindRecord& record) const {
    const std::string part = compose(folder_, "/.new");
    std::ofstream file(part, std::ios::trunc);
    file << kDriver << record.driver << '\n' << kOverride << record.driver_override << '\n';
    file.close();
    if (!file || std::rename(part.c_str(), path(device).c_str()) < 0)
        return cannot_write(path(device), errno);
    return {};
}

Result<void> BindRecords::remove(std::string_view device) const {
    if (::unlink(path(device).c_str()) < 0 && errno != ENOENT) return cannot_write(path(device), errno);
    return {};
}

}  // namespace iommufd::inline v0_1::cli
