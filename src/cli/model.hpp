// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>
#include <vector>

#include "intercept/fail_nth.hpp"

namespace iommufd::inline v0_1::cli {

struct ModelArguments {
    std::string machine;  // as --model has it
    bool traced = false;
    std::string trace;  // the file; empty: standard error
    std::vector<std::string> command;
};

// `iommufd model`: runs a command on the model kernel. Its exit status, or those of `iommufd exec` where it can't be started.
// `failures` is how faults are injected for the command.
int model(const ModelArguments& arguments, intercept::AllocationFailures& failures);

}  // namespace iommufd::inline v0_1::cli
