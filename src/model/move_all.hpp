// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstddef>

namespace iommufd::inline v0_1::model {

// Bytes between two memories by a call that may move less than asked: move(done, rest) returns how many, 0 or less where it can't go on.
// 0, or -EFAULT; part of them may have been moved then.
template <class Move>
int move_all(std::size_t length, Move&& move) noexcept {
    for (std::size_t done = 0; done < length;) {
        const ssize_t moved = move(done, length - done);
        if (moved <= 0) return -EFAULT;
        done += static_cast<std::size_t>(moved);
    }
    return 0;
}

}  // namespace iommufd::inline v0_1::model
