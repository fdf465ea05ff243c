// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A barrier that one thread has all threads of the process pass (membarrier(2), Linux 4.14): where one side of an exchange is rare, the
// other needs no fence but the compiler's.
//
//     often:   a = 1; std::atomic_signal_fence(seq_cst); read b
//     rarely:  b = 1; sys::membarrier();                 read a      one of the two sees the other's 1
#pragma once

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::sys {

// Must come first. False: the kernel has none, or ThreadSanitizer watches, which doesn't know of it.
IOMMUFD_EXPORT bool register_membarrier() noexcept;
void membarrier() noexcept;

}  // namespace iommufd::inline v0_1::sys
