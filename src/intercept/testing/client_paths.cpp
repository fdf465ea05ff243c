// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How programs find devices.
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <set>

#include "intercept/testing/client.hpp"

namespace client {
namespace {

constexpr const char* kFolder = "/sys/bus/pci/devices/0000:00:10.0";

std::string content(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT(fd >= 0);
    char text[256];
    const ssize_t length = ::read(fd, text, sizeof text);
    EXPECT(length >= 0);
    EXPECT(::close(fd) == 0);
    return {text, static_cast<std::size_t>(length)};
}

std::set<std::string> names(const std::string& path) {
    DIR* const folder = ::opendir(path.c_str());
    EXPECT(folder != nullptr);
    std::set<std::string> found;
    while (const dirent* const entry = ::readdir(folder))
        if (entry->d_name[0] != '.') found.insert(entry->d_name);
    EXPECT(::closedir(folder) == 0);
    return found;
}

// As QEMU does it: from the PCI address to the node, whose numbers must be those that sysfs names.
void finds(char**) {
    const std::string vfio = std::string(kFolder) + "/vfio-dev";
    EXPECT(names(vfio) == std::set<std::string>{"vfio0"});
    const std::string numbers = content(vfio + "/vfio0/dev");
    const int device = ::open(("/dev/vfio/devices/" + *names(vfio).begin()).c_str(), O_RDWR);
    struct stat status{};
    EXPECT(::fstat(device, &status) == 0 && S_ISCHR(status.st_mode));
    EXPECT(numbers ==
           std::to_string(::major(status.st_rdev)) + ":" + std::to_string(::minor(status.st_rdev)) + "\n");
    struct stat by_path{};
    EXPECT(::stat(kEdu, &by_path) == 0 && S_ISCHR(by_path.st_mode) && by_path.st_rdev == status.st_rdev);
    struct statx extended{};
    EXPECT(::statx(device, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &extended) == 0 &&
           S_ISCHR(extended.stx_mode));
    EXPECT(::makedev(extended.stx_rdev_major, extended.stx_rdev_minor) == status.st_rdev);
    EXPECT(content(std::string(kFolder) + "/vendor") == "0x1234\n");
    EXPECT(names("/dev/vfio/devices") == (std::set<std::string>{"vfio0", "vfio1"}));
}

void walks(char**) {
    char* const real = ::realpath((std::string(kFolder) + "/iommu_group").c_str(), nullptr);
    EXPECT(real != nullptr && std::strcmp(real, "/sys/kernel/iommu_groups/0") == 0);
    std::free(real);
    const auto shown = [](int fd, const std::string& whose) {
        char link[128] = {};
        EXPECT(::readlink(("/proc/" + whose + "/fd/" + std::to_string(fd)).c_str(), link, sizeof link - 1) >
               0);
        return std::string(link);
    };
    const int iommufd = open_iommufd();
    const std::string own = std::to_string(::getpid());
    for (const std::string& whose :
         {std::string("self"), std::string("thread-self"), own, own + "/task/" + own})
        EXPECT(shown(iommufd, whose) == "/dev/iommu");
    EXPECT(::close(iommufd) == 0);
    const int null = ::open("/dev/null", O_RDWR);
    EXPECT(shown(null, "self") == "/dev/null" && ::close(null) == 0);
    char target[64] = {};
    EXPECT(::readlink((std::string(kFolder) + "/driver").c_str(), target, sizeof target) > 0);
    EXPECT(std::strcmp(target, "../../../bus/pci/drivers/vfio-pci") == 0);
    EXPECT(::readlink(kFolder, target, 3) == 3);
    struct stat status{};
    EXPECT(::lstat(kFolder, &status) == 0 && S_ISLNK(status.st_mode));
    EXPECT(::stat(kFolder, &status) == 0 && S_ISDIR(status.st_mode));
    // From a folder on.
    const int folder = ::open("/sys/bus/pci", O_RDONLY | O_DIRECTORY);
    EXPECT(folder >= 0 && shown(folder, "self") == "/sys/bus/pci");
    EXPECT(::faccessat(folder, "devices/0000:00:10.0/vendor", R_OK, 0) == 0);
    const int devices = ::openat(folder, "devices", O_PATH);
    EXPECT(devices >= 0);
    const int vendor = ::openat(devices, "0000:00:10.0/vendor", O_RDONLY);
    EXPECT(vendor >= 0);
    char text[8] = {};
    EXPECT(::read(vendor, text, 7) == 7 && std::strcmp(text, "0x1234\n") == 0);
    EXPECT(::openat(devices, "0000:00:1f.0", O_RDONLY) == -1 && errno == ENOENT);
    // However it is written.
    for (const char* const path :
         {"/dev//iommu", "/dev/./iommu", "//dev/vfio/../iommu", "/proc/../dev/iommu"}) {
        const int fd = ::open(path, O_RDWR);
        EXPECT(fd >= 0);
        EXPECT(alloc_ioas(fd) == 1 && destroy(fd, 1) == 0);
        EXPECT(::close(fd) == 0);
    }
}

void refuses(char**) {
    EXPECT(::access("/dev/iommu", R_OK | W_OK) == 0);
    EXPECT(::access("/dev/vfio/vfio", F_OK) == -1 && errno == ENOENT);
    EXPECT(::open("/dev/iommu", O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
    EXPECT(::open("/dev/iommu/x", O_RDWR) == -1 && errno == ENOTDIR);
    EXPECT(::open("/dev/iommu", O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR);
    EXPECT(::open(kFolder, O_RDONLY | O_NOFOLLOW) == -1 && errno == ELOOP);
    EXPECT(::open((std::string(kFolder) + "/driver_override").c_str(), O_WRONLY) == -1 && errno == EACCES);
    char byte = 0;
    EXPECT(::readlink("/dev/iommu", &byte, 1) == -1 && errno == EINVAL);
    // What isn't the model's is as it was.
    EXPECT(::access("/proc/self/status", R_OK) == 0);
    struct stat status{};
    EXPECT(::stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
    const int null = ::open("/dev/null", O_RDWR);
    EXPECT(null >= 0 && ::fstat(null, &status) == 0 && ::minor(status.st_rdev) == 3);
    EXPECT(::ioctl(null, uapi::kIoasAlloc, &status) == -1 && errno == ENOTTY);
    struct {
        std::uint64_t flags, mode, resolve;
    } how{.flags = O_RDWR | O_CLOEXEC, .mode = 0, .resolve = 0};
    const long fd = ::syscall(SYS_openat2, AT_FDCWD, "/dev/iommu", &how, sizeof how);
    EXPECT(fd >= 0 && alloc_ioas(static_cast<int>(fd)) == 1);
    EXPECT(destroy(static_cast<int>(fd), 1) == 0);
}

}  // namespace

const Named kPaths[] = {{"finds", finds}, {"walks", walks}, {"refuses", refuses}, {nullptr, nullptr}};

}  // namespace client
