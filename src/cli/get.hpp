// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "iommufd/broker/client.hpp"

namespace iommufd::inline v0_1::cli {

struct GetArguments {
    std::string socket = "/run/iommufd/broker.sock";
    broker::Wanted wanted;
    std::uint64_t map = 0;  // bytes of memory that mediated devices shall see
    std::vector<std::string> command;
};

// `iommufd get`: asks the broker for descriptors and becomes the command, which has them until it ends. Returns only where it can't.
int get(const GetArguments& arguments);

}  // namespace iommufd::inline v0_1::cli
