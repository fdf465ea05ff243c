// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>
#include <vector>

namespace iommufd::inline v0_1::cli {

struct ModelArguments {
    std::string machine;  // as --model has it
    std::vector<std::string> command;
};

// `iommufd model`: runs a command on the model kernel. Its exit status, or those of `iommufd exec` where it can't be started.
int model(const ModelArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
