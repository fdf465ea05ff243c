// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/doctor/doctor.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cli/arguments.hpp"
#include "cli/doctor/checks.hpp"
#include "cli/fail.hpp"

namespace iommufd::inline v0_1::cli::doctor {
namespace {

using Json = nlohmann::ordered_json;

void print_json(const Machine& machine, const Findings& findings) {
    Json list = Json::array();
    for (const Finding& found : findings)
        list.push_back({{"check", found.check},
                        {"verdict", key(found.verdict)},
                        {"evidence", found.evidence},
                        {"fix", found.fix.empty() ? Json() : Json(found.fix)}});
    const Json all{{"device", machine.device ? Json(machine.device->address) : Json()},
                   {"ready", ready(findings)},
                   {"findings", std::move(list)}};
    fmt::print("{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace));
}

const char* colour(Verdict verdict) {
    constexpr const char* kColours[] = {"\033[32m", "\033[33m", "\033[1;31m", "\033[2m"};
    return kColours[static_cast<std::size_t>(verdict)];
}

void print_text(const Machine& machine, const Findings& findings) {
    const char* const no_colour = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
    const bool coloured = ::isatty(STDOUT_FILENO) == 1 && (!no_colour || *no_colour == '\0');
    for (const Finding& found : findings) {
        fmt::print("{}{}{}  {:<20} {}\n", coloured ? colour(found.verdict) : "", word(found.verdict),
                   coloured ? "\033[0m" : "", found.check, found.evidence);
        if (!found.fix.empty()) fmt::print("{:<26} -> {}\n", "", found.fix);
    }
    const auto count = [&](Verdict verdict) {
        return std::ranges::count(findings, verdict, &Finding::verdict);
    };
    fmt::print("{} is {}: {} failed, {} warnings, {} not seen\n",
               machine.device ? machine.device->address : std::string("this machine"),
               ready(findings) ? "ready" : "not ready", count(Verdict::fail), count(Verdict::warn),
               count(Verdict::unseen));
}

}  // namespace

int examine(const Arguments& arguments) {
    const auto machine = look_at(sys::host_kernel(), arguments.device, arguments.memory);
    if (!machine) return fail(kFailed, machine.error());
    const Findings findings = examine(*machine);
    arguments.json ? print_json(*machine, findings) : print_text(*machine, findings);
    return ready(findings) ? kDone : kFailed;
}

}  // namespace iommufd::inline v0_1::cli::doctor
