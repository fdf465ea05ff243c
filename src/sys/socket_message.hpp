// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Bytes and descriptors through a Unix stream socket, without waiting.
//
// Threads: free functions.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::sys {

inline constexpr std::size_t kMostDescriptors = 64;  // with one message

// How many bytes went, the descriptors with the first of them; or a negative errno (EAGAIN: it is full). Raises no SIGPIPE.
ssize_t send_some(int socket, std::string_view bytes, std::span<const int> descriptors) noexcept;

struct Received {
    ssize_t bytes;                // 0: the end; negative: an errno
    std::vector<Fd> descriptors;  // close-on-exec
    bool too_many;                // more came than `most`, which are closed
};

// At most `most` descriptors, of `kernel`. Throws bad_alloc before anything is received.
Received receive_some(Kernel& kernel, int socket, std::span<char> buffer, std::size_t most);

}  // namespace iommufd::inline v0_1::sys
