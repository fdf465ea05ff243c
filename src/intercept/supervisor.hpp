// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Answers the system calls of a program and its children as the model does, or lets the kernel go on with them.
//
//     program --ioctl, open, stat, pread...--> seccomp --notification--> Supervisor --> model::Machine
//             <------------- result, descriptors by ADDFD ------------------+
//
// One thread answers one call after the other, in the order in which they came; another may see to closes meanwhile.
#pragma once

#include <linux/seccomp.h>

#include <functional>
#include <optional>
#include <string_view>

#include "intercept/fail_nth.hpp"
#include "intercept/known_threads.hpp"
#include "intercept/last_closes.hpp"
#include "intercept/path.hpp"
#include "intercept/private_tree.hpp"
#include "intercept/process_memory.hpp"
#include "intercept/trace.hpp"
#include "intercept/tracee.hpp"
#include "iommufd/model/machine.hpp"
#include "model/inside.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::intercept {

// What a call is answered with: a result, a negative errno, or nothing, and the kernel goes on with it.
struct Answer {
    bool ours = true;
    std::int64_t value = 0;

    static Answer from_kernel() { return {.ours = false}; }
};

class Supervisor {
public:
    // `failures`: null where no program may let the supervisor's allocations fail. `trace`: where a line for each answer is
    // written to, or -1. Throws std::system_error, std::bad_alloc.
    Supervisor(model::Machine& machine, const PrivateTree& files, AllocationFailures* failures, int trace);

    // Readable when see_closes() has something to do.
    int closes() const noexcept { return closes_.fd(); }
    void see_closes() IOMMUFD_EXCLUDES(mutex_);
    // Waits for a call: it is answered when this returns. False where there is none: its thread was killed, or nobody
    // is left.
    bool serve(int listener) IOMMUFD_EXCLUDES(mutex_);

private:
    void forget_closed() IOMMUFD_REQUIRES(mutex_);
    Answer answer_as_asked(Tracee& tracee, const seccomp_data& call);
    Answer answer(Tracee& tracee, const seccomp_data& call);
    bool is_on_fail_nth(const seccomp_data& call);

    // calls_path.cpp
    Answer open(Tracee& tracee, int folder, std::uint64_t path, int flags);
    Answer open_entry(Tracee& tracee, const std::string& path, int flags);
    Answer openat2(Tracee& tracee, int folder, std::uint64_t path, std::uint64_t how, std::uint64_t size);
    Answer access(Tracee& tracee, int folder, std::uint64_t path, int mode, bool follow);
    Answer readlink(Tracee& tracee, int folder, std::uint64_t path, std::uint64_t buffer, std::uint64_t size);
    std::string path_at(Tracee& tracee, int folder, std::uint64_t address);

    // calls_process.cpp
    // The thread or process whose file of /proc that path names: "/status" of "/proc/self/status".
    std::optional<pid_t> named_in_proc(const Tracee& tracee, std::string_view text,
                                       std::string_view file) const;
    // What a link in /proc to a descriptor shows, if that is of the model; else empty.
    std::string shown_in_proc(const Tracee& tracee, std::string_view text) const;
    Answer open_status(Tracee& tracee, pid_t thread, int flags);
    Answer open_fail_nth(Tracee& tracee, pid_t thread, int flags);

    // calls_stat.cpp
    Answer stat(Tracee& tracee, int folder, std::uint64_t path, std::uint64_t buffer, int flags);
    Answer fstat(Tracee& tracee, int fd, std::uint64_t buffer);
    Answer statx(Tracee& tracee, int folder, std::uint64_t path, int flags, std::uint64_t buffer);
    // Whether it is of the model, and then what is known of it.
    bool status_of(Tracee& tracee, int folder, std::uint64_t path, int flags, int& rc,
                   sys::FileStatus& status);

    // calls_file.cpp
    Answer ioctl(int fd, std::uint64_t request, std::uint64_t argument);
    Answer read(int fd, std::uint64_t buffer, std::uint64_t count);
    Answer write(int fd, std::uint64_t buffer, std::uint64_t count);
    Answer move_at(const seccomp_data& call, bool write);
    Answer move_pieces_at(Tracee& tracee, const seccomp_data& call, bool write);
    Answer mmap(Tracee& tracee, const seccomp_data& call);

    // calls_memory.cpp
    Answer memfd_create(Tracee& tracee, std::uint64_t name, std::uint64_t flags);

    sys::Mutex mutex_;  // held while a call is answered
    const model::Inside inside_;
    const PrivateTree& files_;
    const Paths paths_;
    const std::string own_pids_;  // the namespace of this process's numbers
    LastCloses closes_;
    KnownThreads threads_;
    ProcessMemories memories_{closes_};
    FailNth fail_nth_;
    std::optional<Trace> trace_;
};

}  // namespace iommufd::inline v0_1::intercept
