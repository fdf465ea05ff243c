// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A running instance's counters for Prometheus.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace iommufd::inline v0_1::cli {

struct MetricsArguments {
    std::string socket;  // of the instance's -qmp
    std::string listen;  // "unix:PATH", "127.0.0.1:PORT" or "[::1]:PORT"; empty: they are printed once
};

// In Prometheus' text format; `instance` is what look_at_instance() tells.
std::string metrics_text(const nlohmann::ordered_json& instance);

// `iommufd metrics`: prints them, or serves them by HTTP until SIGINT or SIGTERM.
int metrics(const MetricsArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
