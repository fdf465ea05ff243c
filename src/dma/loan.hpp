// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <optional>

#include "dma/map_into.hpp"
#include "dma/space_state.hpp"

namespace iommufd::inline v0_1::dma {

// An interval of one space whose pins another one takes over (IOAS_COPY): it can't be unmapped meanwhile, and its IOAS lives.
class Loan {
public:
    Loan() noexcept = default;
    Loan(std::shared_ptr<SpaceState> lender, std::shared_ptr<IoasSink> sink, Interval& interval,
         Iova iova) noexcept
        : lender_(std::move(lender)),
          sink_(std::move(sink)),
          interval_(&interval),
          pinned_({sink_->ioas(), iova}) {}
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    ~Loan();

    const PinnedElsewhere* pinned() const noexcept { return pinned_ ? &*pinned_ : nullptr; }

private:
    std::shared_ptr<SpaceState> lender_;
    std::shared_ptr<IoasSink> sink_;
    Interval* interval_ = nullptr;
    std::optional<PinnedElsewhere> pinned_;
};

}  // namespace iommufd::inline v0_1::dma
