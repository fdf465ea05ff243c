// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory of the program that calls: any address may turn out not to be there, which is EFAULT and no crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/caller.hpp"

namespace iommufd::inline v0_1::model::user {

using Address = std::uint64_t;

inline constexpr std::uint64_t kPage = 4096;

inline Address address(const void* pointer) { return reinterpret_cast<Address>(pointer); }

// 0, or -EFAULT; part of it may have been copied then.
int copy_from(void* to, Address from, std::size_t length) noexcept;
int copy_to(Address to, const void* from, std::size_t length) noexcept;

template <class T>
int get(T& value, Address from) noexcept {
    return copy_from(&value, from, sizeof value);
}

template <class T>
int put(Address to, const T& value) noexcept {
    return copy_to(to, &value, sizeof value);
}

// A struct that may be shorter or longer than the one known here: what it lacks is zero, and what it has
// beyond must be zero (-E2BIG).
int copy_struct_from(void* to, std::size_t known, Address from, std::size_t given) noexcept;

// All pieces that end after `from`, ascending.
std::vector<MappedPiece> pieces_from(Address from);

}  // namespace iommufd::inline v0_1::model::user
