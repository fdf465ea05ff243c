// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What was measured in this process, said beside what an errno means in general:
//
//     cannot map ...: ENOMEM
//       RLIMIT_MEMLOCK is 512 MiB; this process has pinned 512 MiB (VmPin); accounting: per user
//
// Threads: a free function.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "iommufd/backend/backend.hpp"
#include "iommufd/error/error.hpp"
#include "iommufd/host/process.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::object {

// Lines of evidence for ENOMEM of a call that pins memory; none for other errors. Measure before anything is
// undone: what is given back is no evidence any more. `accounting`: of the iommufd that was mapped through.
IOMMUFD_EXPORT std::vector<std::string> explain(const Error& error, const host::Process& process,
                                                std::optional<Accounting> accounting);

}  // namespace iommufd::inline v0_1::object
