// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/disk.hpp"

#include <sys/mman.h>

#include <new>

namespace iommufd::inline v0_1::model {

Disk::Disk(std::uint64_t size) {
    void* const memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    bytes_ = {static_cast<std::byte*>(memory), size};
}

Disk::~Disk() { (void)::munmap(bytes_.data(), bytes_.size()); }

}  // namespace iommufd::inline v0_1::model
