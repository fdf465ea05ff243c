// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Threads of programs, by their numbers, which may be another's once a thread has ended.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {

// A file of a thread or process in /proc: "status", "fd/3".
std::string proc_path(pid_t number, std::string_view name);

// Of the process that a thread belongs to; -1 where there is no such thread.
pid_t process_of(pid_t thread);
// The process that is its parent; as that.
pid_t parent_of(pid_t thread);

// A thread, or before Linux 6.9 its process: readable when it has ended. Empty where there is none.
sys::Fd open_process(pid_t thread);
bool has_ended(const sys::Fd& process);

// Threads that have called: what is kept of one is of no other that gets its number. No threads.
class KnownThreads {
public:
    // Opens what is kept of a thread, and returns its process. The caller makes sure that it is who it was; -1 where there
    // is none, or no descriptor to be had: it stays unknown.
    pid_t know(pid_t thread);
    // What a descriptor of a known thread stands for. Returns the thread's process; -1 where the thread has ended, is
    // unknown, or has no such descriptor.
    pid_t stat(pid_t thread, int fd, struct stat& found) const;

private:
    struct Thread {
        sys::Fd descriptors;  // /proc/TID/fd, in which there is nothing any more once it has ended
        pid_t process;        // until it ends, it belongs to one
    };

    std::map<pid_t, Thread> threads_;
};

}  // namespace iommufd::inline v0_1::intercept
