// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <vector>

#include "dma/space_image.hpp"
#include "iommufd/live/handover.hpp"

namespace iommufd::inline v0_1::live {

// What stands against handing the instance over, as far as users, objects and devices are concerned; asks the kernel.
Result<std::vector<Error>> survey_devices(const Instance& instance);

struct Spaces {
    std::vector<dma::SpaceImage> images;  // in their order
    std::vector<Error> obstacles;
};
// The same of the spaces; asks the kernel nothing, so that they may be frozen.
Spaces survey_spaces(const Instance& instance);

}  // namespace iommufd::inline v0_1::live
