// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The error table: for an operation and an errno, the likely cause and the next step.
//
//     explain(op, code)  -->  the row of (op, code)        this operation gives this errno for this reason
//                        -->  the row of (none, code)      what the errno means in general
//                        -->  a last word for errnos that a driver made up
//
// The table stands in parts, one per subsystem. A part is its hand-written rows and, for the ioctls
// among its operations, the rows that their common frame gives (frame.hpp). An (operation, errno)
// stands in one part, once.
#pragma once

#include <ranges>
#include <span>
#include <string_view>

#include "iommufd/error/error.hpp"

namespace iommufd::inline v0_1 {

// Both texts are clauses: lower case at the start, no full stop at the end.
struct Row {
    Operation operation;  // none: whatever the operation
    int code;
    std::string_view cause;
    std::string_view next_step;
};

// Constant-initialized, so usable before and after main().
extern const std::span<const Row> kSystemCallRows;
extern const std::span<const Row> kIommufdRows;
extern const std::span<const Row> kMappingRows;
extern const std::span<const Row> kHwptRows;
extern const std::span<const Row> kVfioRows;
extern const std::span<const Row> kVdpaRows;
extern const std::span<const Row> kGeneralRows;

std::span<const std::span<const Row>> table_parts() noexcept;

// Every row, for generators of documents and for tests.
inline auto table_rows() noexcept { return table_parts() | std::views::join; }

}  // namespace iommufd::inline v0_1
