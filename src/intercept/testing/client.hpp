// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A program that knows nothing of the model: libc and the kernel's ABI. Its first argument names what it does; it ends
// with 0, or with the line of the first expectation that did not hold.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace client {

namespace uapi = iommufd::uapi;

constexpr std::uint64_t kPage = 4096;
constexpr const char* kEdu = "/dev/vfio/devices/vfio0";

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            std::_Exit(1);                                                                         \
        }                                                                                          \
    } while (false)

inline std::uint64_t address(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

// 0 or more, or a negative errno.
inline int call(int fd, unsigned long request, void* argument) {
    const int rc = ::ioctl(fd, request, argument);
    return rc < 0 ? -errno : rc;
}

inline int open_iommufd(int flags = O_CLOEXEC) {
    const int fd = ::open("/dev/iommu", O_RDWR | flags);
    EXPECT(fd >= 0);
    return fd;
}

inline std::uint32_t alloc_ioas(int iommufd) {
    uapi::IoasAlloc command{.size = sizeof command};
    EXPECT(call(iommufd, uapi::kIoasAlloc, &command) == 0);
    return command.out_ioas_id;
}

inline int map(int iommufd, std::uint32_t ioas, const void* memory, std::uint64_t length,
               std::uint64_t iova) {
    uapi::IoasMap command{.size = sizeof command,
                          .flags = uapi::kMapFixedIova | uapi::kMapReadable | uapi::kMapWriteable,
                          .ioas_id = ioas,
                          .user_va = address(memory),
                          .length = length,
                          .iova = iova};
    return call(iommufd, uapi::kIoasMap, &command);
}

inline int unmap(int iommufd, std::uint32_t ioas, std::uint64_t iova, std::uint64_t length) {
    uapi::IoasUnmap command{.size = sizeof command, .ioas_id = ioas, .iova = iova, .length = length};
    return call(iommufd, uapi::kIoasUnmap, &command);
}

inline int destroy(int iommufd, std::uint32_t id) {
    uapi::Destroy command{.size = sizeof command, .id = id};
    return call(iommufd, uapi::kDestroy, &command);
}

inline int bind(int device, int iommufd) {
    uapi::vfio::DeviceBindIommufd command{.argsz = offsetof(uapi::vfio::DeviceBindIommufd, token_uuid_ptr),
                                          .iommufd = iommufd};
    return call(device, uapi::vfio::kDeviceBindIommufd, &command);
}

inline int attach(int device, std::uint32_t pt) {
    uapi::vfio::DeviceAttachIommufdPt command{.argsz = offsetof(uapi::vfio::DeviceAttachIommufdPt, pasid),
                                              .pt_id = pt};
    return call(device, uapi::vfio::kDeviceAttachIommufdPt, &command);
}

// Private memory.
inline unsigned char* pages(std::size_t count, int flags = MAP_PRIVATE,
                            int protection = PROT_READ | PROT_WRITE) {
    void* const memory = ::mmap(nullptr, count * kPage, protection, flags | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED);
    return static_cast<unsigned char*>(memory);
}

// Waits for a child, which must end well.
inline void join(pid_t child) {
    int status = 0;
    EXPECT(::waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

using Scenario = void (*)(char** arguments);
struct Named {
    const char* name;
    Scenario run;
};

// client_*.cpp
extern const Named kDescriptors[];
extern const Named kPaths[];
extern const Named kDevices[];
extern const Named kMemory[];
extern const Named kMock[];
extern const Named kAttacks[];

}  // namespace client
