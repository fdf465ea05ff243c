// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One page by HTTP, for programs of this machine.
#pragma once

#include <functional>
#include <string>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

// Serves GET /metrics with what `page` returns, or 503 with the line of its error, until SIGINT or SIGTERM, which it blocks. `where` is
// "unix:PATH" (for the owner only, and removed at the end), "127.0.0.1:PORT" or "[::1]:PORT". EINVAL: it is another one;
// EADDRINUSE; what bind(2) says besides. One client after the other: who says nothing for a second is hung up on.
Result<void> serve_http(const std::string& where, const std::function<Result<std::string>()>& page);

}  // namespace iommufd::inline v0_1::cli
