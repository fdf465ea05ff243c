// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a process has mapped between two addresses: asked of the kernel for these alone where it can tell that (Linux 6.11),
// since the whole of /proc/PID/maps is long.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/caller.hpp"

namespace iommufd::inline v0_1::intercept {

// Pieces that have some of [first, last], ascending; `maps` is the open /proc/PID/maps. False: the kernel can't tell.
bool query_maps(int maps, std::uint64_t first, std::uint64_t last, std::vector<model::MappedPiece>& pieces);

// Whether there is an address space any more. Nothing: the kernel can't tell.
std::optional<bool> query_alive(int maps);

}  // namespace iommufd::inline v0_1::intercept
