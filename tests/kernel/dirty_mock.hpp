// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The kernel's mock device as one that writes to memory, and as a device of a Space.
#pragma once

#include "iommufd/dma/attachable.hpp"
#include "kernel/mock.hpp"

namespace iommufd::inline v0_1::kernel_tests {

// As if a device behind this page table had written to that address: 0 or a negative errno.
inline int set_dirty(const core::Context& context, HwptId table, Iova iova) {
    std::uint64_t first_bit = 1;
    uapi::mock::TestCmd command{};
    command.op = uapi::mock::kDirty;
    command.id = table.value;
    command.dirty = {.flags = 0,
                     .iova = iova.value,
                     .length = 4096,
                     .page_size = 4096,
                     .uptr = reinterpret_cast<std::uintptr_t>(&first_bit),
                     .out_nr_dirty = 0};
    return mock_operation(context, command);
}

}  // namespace iommufd::inline v0_1::kernel_tests
