// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A program from its start to the end of its last child, under the model.
//
// Threads: a free function. While it runs, SIGINT, SIGQUIT, SIGTERM and SIGHUP of this process go to the program, and this
// process adopts its children's children.
#pragma once

#include <string>
#include <vector>

#include "intercept/fail_nth.hpp"
#include "iommufd/error/result.hpp"
#include "iommufd/model/machine.hpp"

namespace iommufd::inline v0_1::intercept {

struct Outcome {
    int status;         // as a shell has it: the program's exit status, or 128 and the signal that killed it
    int not_started;    // the errno of exec, or 0
    model::Leaks left;  // objects and mappings that were not given back before the descriptors
    std::uint64_t blocked_dma;
};

// Whether a supervisor may wait for the next call where nobody is left to make one: before Linux 6.11 it would wait for
// ever (seccomp: "interrupt SECCOMP_IOCTL_NOTIF_RECV when all users have exited").
bool waiting_ends();

struct RunOptions {
    AllocationFailures* failures = nullptr;  // for programs that inject faults
    int trace = -1;                          // where a line for each call is written to
    bool polls = !waiting_ends();            // for each call, which costs half a microsecond
};

// The program's name is looked for in PATH. Fails where nothing can be run under a supervisor here.
Result<Outcome> run(const model::Description& description, const std::vector<std::string>& words,
                    const RunOptions& options = {});

}  // namespace iommufd::inline v0_1::intercept
