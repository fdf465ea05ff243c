// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "cli/outcome.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

const char* word(Verdict verdict) {
    switch (verdict) {
        case Verdict::passed:
            return "passed";
        case Verdict::failed:
            return "failed";
        case Verdict::left_out:
            return "left-out";
    }
    return "";
}

}  // namespace

void print_json(const Outcome& outcome) {
    nlohmann::ordered_json devices = nlohmann::ordered_json::array();
    for (const DeviceOutcome& device : outcome.devices) {
        nlohmann::ordered_json steps = nlohmann::ordered_json::array();
        for (const Step& step : device.steps)
            steps.push_back({{"name", step.name}, {"verdict", word(step.verdict)}, {"detail", step.detail}});
        devices.push_back({{"id", device.id},
                           {"device", device.device},
                           {"driver", device.driver.empty() ? nlohmann::ordered_json()
                                                            : nlohmann::ordered_json(device.driver)},
                           {"failed", device.failed()},
                           {"steps", std::move(steps)}});
    }
    const nlohmann::ordered_json whole = {{"iommufd", outcome.iommufd},
                                          {"memory", outcome.memory},
                                          {"model", outcome.model},
                                          {"exit-status", outcome.exit_status()},
                                          {"devices", std::move(devices)}};
    fmt::print("{}\n", whole.dump(2));
}

}  // namespace iommufd::inline v0_1::cli
