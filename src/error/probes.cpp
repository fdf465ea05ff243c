// SPDX-License-Identifier: Apache-2.0 OR MIT
#define _SDT_HAS_SEMAPHORES 1
#include "error/probes.hpp"

#include <sys/sdt.h>

#define IOMMUFD_SEMAPHORE(name) \
    [[gnu::section(".probes")]] volatile unsigned short iommufd_##name##_semaphore = 0

extern "C" {
IOMMUFD_SEMAPHORE(map);
IOMMUFD_SEMAPHORE(unmap);
IOMMUFD_SEMAPHORE(copy);
IOMMUFD_SEMAPHORE(dirty);
IOMMUFD_SEMAPHORE(attach);
IOMMUFD_SEMAPHORE(detach);
IOMMUFD_SEMAPHORE(error);
}

namespace iommufd::inline v0_1::probes {

void map(const std::string& space, std::uint64_t iova, std::uint64_t bytes, int code, std::int64_t ns,
         const std::string& memory) noexcept {
    STAP_PROBE6(iommufd, map, space.c_str(), iova, bytes, code, ns, memory.c_str());
}

void unmap(const std::string& space, std::uint64_t iova, std::uint64_t bytes, int code,
           std::int64_t ns) noexcept {
    STAP_PROBE5(iommufd, unmap, space.c_str(), iova, bytes, code, ns);
}

void copy(std::uint32_t ioas, std::uint64_t iova, std::uint64_t bytes, int code, std::int64_t ns) noexcept {
    STAP_PROBE5(iommufd, copy, ioas, iova, bytes, code, ns);
}

void dirty(const std::string& space, std::uint64_t iova, std::uint64_t bytes, int code, std::int64_t ns,
           std::uint64_t dirty_bytes) noexcept {
    STAP_PROBE6(iommufd, dirty, space.c_str(), iova, bytes, code, ns, dirty_bytes);
}

void attach(const std::string& space, const std::string& device, int code, std::int64_t ns) noexcept {
    STAP_PROBE4(iommufd, attach, space.c_str(), device.c_str(), code, ns);
}

void detach(const std::string& space, const std::string& device, int code, std::int64_t ns) noexcept {
    STAP_PROBE4(iommufd, detach, space.c_str(), device.c_str(), code, ns);
}

void error(const char* operation, int code) noexcept { STAP_PROBE2(iommufd, error, operation, code); }

}  // namespace iommufd::inline v0_1::probes
