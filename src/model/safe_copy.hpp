// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// memcpy() where memory may not be there. 0, or -EFAULT; part of it may have been copied then.
//
// Threads: any.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace iommufd::inline v0_1::model {

// What a program passes: the kernel looks first (process_vm_readv(2)).
int checked_copy(void* to, const void* from, std::size_t length) noexcept;

// A device's DMA, at the speed of memory: a program may unmap what it has mapped for DMA, which a device survives. Handlers of SIGSEGV and
// SIGBUS know the instructions that may fault, and hand every other fault on to who had them before; where a program sets its own
// later, or blocks these signals, such a fault is its end. Only on x86-64: elsewhere it is checked_copy().
#if defined(__x86_64__)
extern "C" {  // what is left
std::size_t iommufd_model_copy(void* to, const void* from, std::size_t length) noexcept;
std::size_t iommufd_model_copy_cached(void* to, const void* from, std::size_t length) noexcept;
}
inline const bool kHasWideRegisters = __builtin_cpu_supports("avx512f") != 0;

inline int safe_copy(void* to, const void* from, std::size_t length) noexcept {
    return iommufd_model_copy(to, from, length) == 0 ? 0 : -EFAULT;
}
// To what is in the caches: some pages are a twentieth sooner there by registers of 64 bytes. What is not takes a fifth longer.
inline int safe_copy_to_cached(void* to, const void* from, std::size_t length) noexcept {
    constexpr std::size_t kLeast = 1024;
    constexpr std::size_t kMost = 16384;
    if (length < kLeast || length > kMost || !kHasWideRegisters) return safe_copy(to, from, length);
    return iommufd_model_copy_cached(to, from, length) == 0 ? 0 : -EFAULT;
}
#else
inline int safe_copy(void* to, const void* from, std::size_t length) noexcept {
    return checked_copy(to, from, length);
}
inline int safe_copy_to_cached(void* to, const void* from, std::size_t length) noexcept {
    return checked_copy(to, from, length);
}
#endif

// As a compare-and-exchange of eight bytes, aligned. Elsewhere than on x86-64 it is none: another's write may be lost.
enum class Exchange : std::uint8_t { done, other, fault };  // `other`: not what was expected there
Exchange safe_exchange(std::uint64_t* at, std::uint64_t expected, std::uint64_t desired) noexcept;

// Sets the handlers, once, before the first of these.
void expect_faults() noexcept;

}  // namespace iommufd::inline v0_1::model
