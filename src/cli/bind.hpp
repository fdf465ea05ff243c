// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace iommufd::inline v0_1::cli {

struct BindArguments {
    std::vector<std::string> devices;  // PCI addresses
    std::string driver = "vfio-pci";   // of VFIO's
    bool group = false;                // all of their groups
    bool force = false;                // whoever uses them
    bool dry_run = false;
    std::chrono::seconds limit{10};  // for each step
};

// `iommufd bind`: takes devices from their drivers for VFIO: all of them or, if one can't be had, none.
int bind(const BindArguments& arguments);

// `iommufd unbind`: gives devices back to the drivers that they had.
int unbind(const BindArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
