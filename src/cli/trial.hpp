// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "cli/outcome.hpp"
#include "cli/workbench.hpp"
#include "drivers/driver.hpp"

namespace iommufd::inline v0_1::cli {

struct TrialRules {
    bool destructive;  // storage may be overwritten
    bool translated;   // an IOMMU stands between device and memory
    bool is_vfio;      // its DMA goes through an IOMMU at all
};

// What is done with one device that there is a driver for. `from` holds the bytes that came through the devices before;
// `to` is where this device is to put them.
std::vector<Step> try_device(drivers::Driver& driver, const Workbench& bench, const drivers::Window& from,
                             const drivers::Window& to, const TrialRules& rules);

}  // namespace iommufd::inline v0_1::cli
