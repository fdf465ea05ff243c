// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <string>

#include "live/state.hpp"

namespace iommufd::inline v0_1::live {

// What in a state doesn't fit the rest, in words; empty: it all fits.
std::string inconsistency(const State& state);

}  // namespace iommufd::inline v0_1::live
