// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fmt/core.h>

#include <algorithm>

#include "cli/arguments.hpp"
#include "cli/outcome.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

const char* word(Verdict verdict) {
    switch (verdict) {
        case Verdict::passed:
            return "ok";
        case Verdict::failed:
            return "FAILED";
        case Verdict::left_out:
            return "left out";
    }
    return "";
}

}  // namespace

bool DeviceOutcome::failed() const {
    return std::ranges::any_of(steps, [](const Step& step) { return step.verdict == Verdict::failed; });
}

int Outcome::exit_status() const {
    if (std::ranges::any_of(devices, &DeviceOutcome::failed)) return kFailed;
    const bool untried =
        std::ranges::any_of(devices, [](const DeviceOutcome& device) { return device.driver.empty(); });
    return untried || devices.empty() ? kNotTried : kDone;
}

void print_text(const Outcome& outcome) {
    if (!outcome.iommufd.empty()) fmt::print("{}: ", outcome.iommufd);
    fmt::print("{}{}\n", outcome.memory, outcome.model ? " (on the model kernel)" : "");
    for (const DeviceOutcome& device : outcome.devices) {
        fmt::print("\n{} ({})\n", device.id, device.device);
        for (const Step& step : device.steps)
            fmt::print("  {:<20} {:<9} {}\n", step.name, word(step.verdict), step.detail);
    }
    const auto failures = std::ranges::count_if(outcome.devices, &DeviceOutcome::failed);
    fmt::print("\n{} device{}, {} failed\n", outcome.devices.size(), outcome.devices.size() == 1 ? "" : "s",
               failures);
}

}  // namespace iommufd::inline v0_1::cli
