// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which mapped files are of huge pages: those of the kernel's own file systems for them (MAP_HUGETLB, MFD_HUGETLB).
//
// Threads: any.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace iommufd::inline v0_1::intercept {

// The page size of a file in that container; 4096 where it isn't known.
std::uint64_t page_size_of(dev_t container);

}  // namespace iommufd::inline v0_1::intercept
