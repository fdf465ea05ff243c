// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

namespace iommufd::inline v0_1::cli {

struct TopArguments {
    std::string socket;   // of the instance's -qmp
    double interval = 1;  // seconds
    unsigned count = 0;   // of looks; 0: until it is interrupted
    bool json = false;    // a line for each look
};

// `iommufd top`: a running instance's counters, again and again.
int top(const TopArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
