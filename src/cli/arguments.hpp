// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "iommufd/object/definition.hpp"
#include "monitor/server.hpp"

namespace iommufd::inline v0_1::cli {

// Exit statuses of the command.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kNotTried = 2;
inline constexpr int kUsage = 64;

// What a command that works on objects was told.
struct Arguments {
    std::vector<object::Definition> definitions;          // -object and -device, in their order
    std::optional<std::string> model;                     // --model, and its description
    std::vector<monitor::SocketAddress> control_sockets;  // -qmp
    bool json = false;
    bool destructive = false;
};

}  // namespace iommufd::inline v0_1::cli
