// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstdint>
#include <span>

// Maps and unmaps what the bytes say, by two mediated clients of a broker that share a device, each with a real descriptor
// of what is memory or isn't. What is mapped must be what was asked for, of memory that may be, and nobody else's; nothing
// is left afterwards.
void map_and_unmap(std::span<const std::uint8_t> bytes);

// As broker.cpp has it.
void demand(bool holds, const char* what);
