// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

#include "broker/broker.hpp"

namespace iommufd::inline v0_1::cli {

struct ServeArguments {
    std::string config;  // path of the file
};

// `iommufd serve`: hands descriptors of /dev/iommu and of devices to other processes, as its configuration allows, until SIGINT or SIGTERM.
int serve(const ServeArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
