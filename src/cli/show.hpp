// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

namespace iommufd::inline v0_1::cli {

struct ShowArguments {
    std::string socket;  // of the instance's -qmp
    std::string svg;     // where the picture goes; empty: nowhere
    bool json = false;
};

// `iommufd show`: what a running instance has.
int show(const ShowArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
