// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What tracers can watch (USDT): `bpftrace -e 'usdt:/usr/lib/.../libiommufd.so:iommufd:map { ... }'`, perf, SystemTap, gdb.
//
//     map       space, iova, bytes, errno, ns, memory     a map() of a space, whole, with all its sinks
//     unmap     space, iova, bytes, errno, ns
//     copy      ioas, iova, bytes, errno, ns              pins taken over from another space
//     dirty     space, iova, bytes, errno, ns, dirty      a sync of a range (bytes 0: of everything), and the bytes found dirty
//     attach    space, device, errno, ns
//     detach    space, device, errno, ns
//     error     operation, errno                          each error that the library makes
//
// Strings are pointers to zero-terminated ones; errno is 0 or positive. Nobody listens: one load and a branch, since a tracer
// counts itself in the probe's semaphore; without that no clock is read.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

// Where tracers find them; names as <sys/sdt.h> has them.
extern "C" {
extern volatile unsigned short iommufd_map_semaphore;
extern volatile unsigned short iommufd_unmap_semaphore;
extern volatile unsigned short iommufd_copy_semaphore;
extern volatile unsigned short iommufd_dirty_semaphore;
extern volatile unsigned short iommufd_attach_semaphore;
extern volatile unsigned short iommufd_detach_semaphore;
extern volatile unsigned short iommufd_error_semaphore;
}

namespace iommufd::inline v0_1::probes {

void map(const std::string& space, std::uint64_t iova, std::uint64_t bytes, int code, std::int64_t ns,
         const std::string& memory) noexcept;
void unmap(const std::string& space, std::uint64_t iova, std::uint64_t bytes, int code,
           std::int64_t ns) noexcept;
void copy(std::uint32_t ioas, std::uint64_t iova, std::uint64_t bytes, int code, std::int64_t ns) noexcept;
void dirty(const std::string& space, std::uint64_t iova, std::uint64_t bytes, int code, std::int64_t ns,
           std::uint64_t dirty_bytes) noexcept;
void attach(const std::string& space, const std::string& device, int code, std::int64_t ns) noexcept;
void detach(const std::string& space, const std::string& device, int code, std::int64_t ns) noexcept;
void error(const char* operation, int code) noexcept;

// Does the work, and tells tell(result, ns) of it if somebody watches.
template <class Work, class Tell>
auto watched(const volatile unsigned short& semaphore, Work&& work, Tell&& tell) -> decltype(work()) {
    if (semaphore == 0) [[likely]]
        return work();
    const auto start = std::chrono::steady_clock::now();
    auto result = work();
    tell(result, std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
    return result;
}

// 0, or the errno.
template <class Result>
int code_of(const Result& result) noexcept {
    return result ? 0 : result.error().code();
}

}  // namespace iommufd::inline v0_1::probes
