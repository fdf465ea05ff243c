// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/model.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>

#include "cli/arguments.hpp"
#include "cli/exec.hpp"
#include "cli/fail.hpp"
#include "cli/machine_file.hpp"
#include "intercept/session.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::cli {

int model(const ModelArguments& arguments, intercept::AllocationFailures& failures) {
    const auto description = read_machine(arguments.machine);
    if (!description) return fail(kUsage, description.error());
    sys::Fd file;
    if (!arguments.trace.empty()) {
        file = sys::Fd(sys::host_kernel(), ::open(arguments.trace.c_str(),
                                                  O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666));
        if (!file)
            return fail(kNotPrepared, Error(Operation::open, errno, "cannot write to " + arguments.trace));
    }
    const int trace = file ? file.number() : arguments.traced ? STDERR_FILENO : -1;
    const auto outcome =
        intercept::run(*description, arguments.command, {.failures = &failures, .trace = trace});
    if (!outcome) return fail(kNotPrepared, outcome.error());
    if (outcome->not_started != 0) {
        const bool missing = outcome->not_started == ENOENT;
        return fail(missing ? kNotFound : kNotStarted,
                    Error::refused(outcome->not_started, "cannot start " + arguments.command.front(),
                                   missing ? "there is no such program" : "the kernel refuses it",
                                   "name a program that can be executed, as a path or by PATH"));
    }
    if (outcome->left.any())
        fmt::print(stderr, "iommufd: the command has not given back, but left to the last close: {}\n",
                   outcome->left.text());
    if (outcome->blocked_dma != 0)
        fmt::print(stderr, "iommufd: {} DMA accesses of devices reached nothing and were blocked\n",
                   outcome->blocked_dma);
    return outcome->status;
}

}  // namespace iommufd::inline v0_1::cli
