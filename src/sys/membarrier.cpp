// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/membarrier.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace iommufd::inline v0_1::sys {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kMayBeUsed = false;
#elif defined(__has_feature)
constexpr bool kMayBeUsed = !__has_feature(thread_sanitizer);
#else
constexpr bool kMayBeUsed = true;
#endif

}  // namespace

bool register_membarrier() noexcept {
    return kMayBeUsed && ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void membarrier() noexcept { (void)::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

}  // namespace iommufd::inline v0_1::sys
