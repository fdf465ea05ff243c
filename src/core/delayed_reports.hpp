// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A report may call into the library, so it must not be made in the middle of what it may call.
#pragma once

#include "iommufd/core/report.hpp"

namespace iommufd::inline v0_1::core {

// While one lives, reports of the calling thread wait; they are made when the outermost goes.
class DelayedReports {
public:
    DelayedReports() noexcept;
    DelayedReports(const DelayedReports&) = delete;
    DelayedReports& operator=(const DelayedReports&) = delete;
    ~DelayedReports();
};

// Makes the report, now or when the thread's DelayedReports have gone. Where memory runs out for keeping it until then,
// it is lost: who reports counts as well.
void deliver(const Report& report, Severity severity, Error error) noexcept;

}  // namespace iommufd::inline v0_1::core
