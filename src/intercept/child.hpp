// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Starts a program under a filter whose listener is this process's. Set-user-ID programs that it starts gain nothing
// (no_new_privs).
//
// Threads: a free function; the process may have other threads.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "iommufd/error/result.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {

struct Child {
    pid_t process = -1;
    sys::Fd listener;
    sys::Fd outcome;  // an int comes if it can't become the program: the errno of exec
};

// ENOSYS, EINVAL: the kernel is too old; EBUSY: this process has a supervisor already; EAGAIN, ENOMEM, EMFILE.
Result<Child> start(const std::vector<std::string>& words, const std::vector<sock_filter>& filter);

}  // namespace iommufd::inline v0_1::intercept
