// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <fcntl.h>

#include <array>
#include <cstdio>

namespace iommufd::inline v0_1::model {

// Another opening of what a descriptor of this process stands for, close-on-exec: -1, and errno says why.
inline int open_again(int fd, int flags) noexcept {
    std::array<char, 32> path{};
    (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    return ::open(path.data(), flags | O_CLOEXEC);
}

}  // namespace iommufd::inline v0_1::model
