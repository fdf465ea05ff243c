// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Linux's /proc/PID/fail-nth (CONFIG_FAULT_INJECTION): a number n written there lets the n-th allocation fail that is made
// for a thread's calls; 0 read from it says that it has failed. Here those count that the supervisor makes for an answer.
//
//     program --pwrite "5"--> FailNth         the next calls: 4 allocations succeed, the fifth is ENOMEM
//             --pread--> "0"
//
// Threads: none; it belongs to the supervisor's loop.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>

#include "model/file.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::intercept {

// Lets allocations of the thread that asks fail. A program has it that replaces operator new.
class AllocationFailures {
public:
    AllocationFailures() = default;
    AllocationFailures(const AllocationFailures&) = delete;
    AllocationFailures& operator=(const AllocationFailures&) = delete;
    virtual ~AllocationFailures() = default;

    // The n-th one from now on fails, once.
    virtual void arm(std::uint64_t n) = 0;
    // None does any more: what is left of n, 0 where one has failed.
    virtual std::uint64_t disarm() = 0;
};

class FailNth {
public:
    // Null: there are no such files.
    explicit FailNth(AllocationFailures* failures) : failures_(failures) {}

    bool exists() const noexcept { return failures_ != nullptr; }
    // The file of a thread. It must not be used after this has gone.
    std::shared_ptr<model::File> open(pid_t thread);
    static bool is_of(const model::File& file) noexcept;

    std::uint64_t get(pid_t thread);
    // -ESRCH where there is no such thread.
    int set(pid_t thread, std::uint64_t n);

    // While it lives, the thread's allocation fails that is to.
    class Armed {
    public:
        Armed(FailNth& of, pid_t thread);
        ~Armed();
        Armed(const Armed&) = delete;
        Armed& operator=(const Armed&) = delete;

    private:
        FailNth& of_;
        const pid_t thread_;
        const std::uint64_t n_;
    };

private:
    struct Thread {
        sys::Fd process;  // readable when it has ended
        std::uint64_t n;
    };

    AllocationFailures* const failures_;
    std::map<pid_t, Thread> threads_;  // for which n isn't 0
};

}  // namespace iommufd::inline v0_1::intercept
