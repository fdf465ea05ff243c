// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How the *_check.cpp compare our words with the kernel's. A macro each, since an assertion has to spell
// both names and C++ has no other way to name a member.
#pragma once

#include <cstddef>
#include <type_traits>

// In our type: the kernel writes ~0U as -1 in places.
#define SAME_VALUE(ours, kernels) \
    static_assert((ours) == static_cast<std::remove_const_t<decltype(ours)>>(kernels))

#define SAME_SIZE(ours, kernels) static_assert(sizeof(ours) == sizeof(struct ::kernels))

// Starts and ends at the same byte.
#define SAME_MEMBER(ours, member, kernels, kernels_member)                                \
    static_assert(offsetof(ours, member) == offsetof(struct ::kernels, kernels_member) && \
                  sizeof(ours{}.member) == sizeof(static_cast<struct ::kernels*>(nullptr)->kernels_member))
