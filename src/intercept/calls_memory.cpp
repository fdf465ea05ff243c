// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory that programs make: what a device reaches of it stays when they have unmapped it, since it is kept here too.
#include <sys/mman.h>

#include <cerrno>

#include "intercept/supervisor.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif

namespace iommufd::inline v0_1::intercept {

// A descriptor each is kept for.
constexpr std::size_t kMostKept = 512;

// What can't be kept, or is refused, is the kernel's to answer.
Answer Supervisor::memfd_create(Tracee& tracee, std::uint64_t name, std::uint64_t flags) {
    constexpr std::uint64_t kKept = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC;
    constexpr std::size_t kLongestName = 250;
    std::string text;
    if ((flags & ~kKept) != 0 || closes_.count() >= kMostKept ||
        tracee.copy_text(text, name, kLongestName) < 0)
        return Answer::from_kernel();
    const int own = ::memfd_create(text.c_str(), static_cast<unsigned>(flags | MFD_CLOEXEC));
    if (own < 0) return Answer::from_kernel();
    const sys::Fd theirs(sys::host_kernel(), closes_.open_for_programs(own));
    if (!theirs) return Answer::from_kernel();
    return {.value = tracee.give_copy(theirs.number(), (flags & MFD_CLOEXEC) != 0)};
}

}  // namespace iommufd::inline v0_1::intercept
