// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A write that may never come back: to the `unbind` of a driver that waits for its device's users.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::cli {

// Writes `text` to the file at `path` by a process of its own, which not even SIGKILL can end while the kernel waits. 0, or a
// negative errno; -ETIMEDOUT: not done within the limit, and that process goes on without us. For a program with one thread.
int write_within(std::chrono::milliseconds limit, sys::Kernel& kernel, const std::string& path,
                 std::string_view text);

}  // namespace iommufd::inline v0_1::cli
