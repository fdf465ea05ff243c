// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

#include "cli/qmp_client.hpp"

namespace iommufd::inline v0_1::cli {

// What the instance with this control socket has now: `iommufds`, `devices` and `spaces`, each a list as its query tells it.
Result<Json> look_at_instance(const std::string& socket);

}  // namespace iommufd::inline v0_1::cli
