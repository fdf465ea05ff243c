// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/finding.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::cli::doctor {

std::string_view word(Verdict verdict) {
    constexpr std::string_view kWords[] = {"PASS", "WARN", "FAIL", "----"};
    return kWords[static_cast<std::size_t>(verdict)];
}

std::string_view key(Verdict verdict) {
    constexpr std::string_view kKeys[] = {"pass", "warn", "fail", "unseen"};
    return kKeys[static_cast<std::size_t>(verdict)];
}

bool ready(const Findings& findings) {
    return std::ranges::none_of(findings,
                                [](const Finding& found) { return found.verdict == Verdict::fail; });
}

}  // namespace iommufd::inline v0_1::cli::doctor
