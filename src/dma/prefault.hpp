// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstddef>
#include <span>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::dma {

// Gives every page of the memory a page frame now, with that many threads. ENOMEM; ENOSPC and EFAULT (a full
// file system, too few huge pages) are reported as the kernel gives them.
Result<void> prefault(std::span<std::byte> memory, std::uint64_t page_size, bool writable, unsigned threads);

}  // namespace iommufd::inline v0_1::dma
