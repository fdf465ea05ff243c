// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How much of the error table (error/table.hpp) a run has reached: each pair of an ioctl of /dev/iommu and an errno, but
// those that no sequence of calls can bring about here, with the reason.
#pragma once

#include <string>
#include <vector>

#include "conformance/comparison.hpp"

namespace iommufd::inline v0_1::conformance {

struct Reach {
    std::size_t reached = 0;             // pairs of the table
    std::vector<std::string> unreached;  // "IOMMU_IOAS_MAP ENOSPC", that aren't excused
    std::vector<std::string> excused;    // with the reason
    std::vector<std::string> wrongly_excused;
};

Reach reach_of(const Coverage& coverage);

}  // namespace iommufd::inline v0_1::conformance
