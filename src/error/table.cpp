// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "error/table.hpp"

namespace iommufd::inline v0_1 {
namespace {

const Row* find(Operation operation, int code) noexcept {
    for (const Row& row : table_rows())
        if (row.operation == operation && row.code == code) return &row;
    return nullptr;
}

}  // namespace

std::span<const std::span<const Row>> table_parts() noexcept {
    static const std::span<const Row> parts[] = {kSystemCallRows, kIommufdRows, kMappingRows, kHwptRows,
                                                 kVfioRows,       kVdpaRows,    kGeneralRows};
    return parts;
}

// A linear search: some hundred comparisons, once per failure, and only where somebody reads the words.
Explanation explain(Operation operation, int code) noexcept {
    if (code == 0) return {};
    const Row* row = find(operation, code);
    if (!row) row = find(Operation::none, code);
    if (row) return {row->cause, row->next_step};
    return {"a driver below gave an errno of its own", "look at the kernel's log: `dmesg | tail`"};
}

}  // namespace iommufd::inline v0_1
