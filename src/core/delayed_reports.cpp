// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "core/delayed_reports.hpp"

#include <new>
#include <utility>
#include <vector>

namespace iommufd::inline v0_1::core {
namespace {

struct Waiting {
    Report report;  // a copy: its owner may have gone by then
    Notice notice;
};

thread_local unsigned depth = 0;
thread_local std::vector<Waiting> waiting;

}  // namespace

DelayedReports::DelayedReports() noexcept { ++depth; }

DelayedReports::~DelayedReports() {
    if (--depth > 0) return;
    // A report may lead to others.
    for (const Waiting& entry : std::exchange(waiting, {})) entry.report(entry.notice);
}

void deliver(const Report& report, Severity severity, Error error) noexcept {
    if (!report) return;
    if (depth == 0) return report({.severity = severity, .error = std::move(error)});
    try {
        waiting.push_back({.report = report, .notice = {.severity = severity, .error = std::move(error)}});
    } catch (const std::bad_alloc&) {
        return;
    }
}

}  // namespace iommufd::inline v0_1::core
