// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What one look at the machine found: a line of `iommufd doctor`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace iommufd::inline v0_1::cli::doctor {

enum class Verdict : std::uint8_t {
    pass,
    warn,    // it works, and could work better or more safely
    fail,    // the device, or any, can't be used like that
    unseen,  // this process may not look, or what would be looked at isn't there
};

struct Finding {
    Verdict verdict;
    std::string check;     // "interrupt-remapping"
    std::string evidence;  // what was seen, and where
    std::string fix;       // the command, or the step; empty: nothing is to be done
};
using Findings = std::vector<Finding>;

// "PASS", "pass": as people and programs read it.
std::string_view word(Verdict verdict);
std::string_view key(Verdict verdict);

// Whether no check has failed.
bool ready(const Findings& findings);

}  // namespace iommufd::inline v0_1::cli::doctor
