// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Calls of a sink, in which memory may run out as well.
#pragma once

#include <optional>

#include "error/guarded.hpp"
#include "iommufd/dma/sink.hpp"

namespace iommufd::inline v0_1::dma {

template <class Call>
auto ask(Call&& call) noexcept {
    return guarded(Operation::ioas_map, std::forward<Call>(call));
}

// Takes out all that the sink has in the range, which no piece of it crosses. Nothing there is what we want.
std::optional<Error> remove_from(Sink& sink, Range range) noexcept;

}  // namespace iommufd::inline v0_1::dma
