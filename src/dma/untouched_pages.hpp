// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::dma {

// Touches the pages of a shared mapping of a memfd, or another file of tmpfs, that fallocate() made and nobody has touched
// since. Linux 7.3 clears such a page when a process touches it first, though it was pinned by file, and a device has
// written to it by then. Sparse parts stay sparse; where the file has some, the others are found by cachestat(2) only
// (Linux 6.5, CONFIG_CACHESTAT_SYSCALL). `offset`: where in the file the mapping begins, in bytes. The file's position stays.
// ENOMEM, EFAULT, ...: as prefault().
Result<void> touch_allocated_pages(int fd, std::uint64_t offset, std::span<std::byte> mapping);

}  // namespace iommufd::inline v0_1::dma
