// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "dma/intervals.hpp"
#include "iommufd/dma/bring_up.hpp"

namespace iommufd::inline v0_1::dma {

// Who has pinned the same memory already, and where.
struct PinnedElsewhere {
    const core::Ioas& ioas;
    Iova iova;
};

// Maps the interval into every sink, or into none; `remains`: why it can't be taken back from one.
Result<void> map_into(std::span<const std::shared_ptr<Sink>> sinks, const Interval& interval,
                      const PinnedElsewhere* pinned, std::optional<Error>& remains) noexcept;
// The same, part by part.
Result<void> map_into(std::span<const std::shared_ptr<Sink>> sinks, const Interval& interval,
                      const PinnedElsewhere* pinned, std::optional<Error>& remains,
                      const BringUp& how) noexcept;

}  // namespace iommufd::inline v0_1::dma
