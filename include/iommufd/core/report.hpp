// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What nobody was there to be told of: a destructor's failure, a warning beside a success.
//
// Threads: the callback is called in the thread that made the call, without any lock of this library
// held; it may call into the library. It must not throw.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "iommufd/error/error.hpp"

namespace iommufd::inline v0_1 {

enum class Severity : std::uint8_t { warning, error };

struct Notice {
    Severity severity;
    Error error;
};

using Report = std::function<void(const Notice&)>;

// Something that the kernel may still hold, since the call that gives it back failed.
struct NotReleased {
    std::string object;   // "ioas 3 ('guest') of 'iommufd0'"
    Operation operation;  // the call that failed
    int code;             // its errno
};

}  // namespace iommufd::inline v0_1
