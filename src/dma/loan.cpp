// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/loan.hpp"

namespace iommufd::inline v0_1::dma {

Loan::~Loan() {
    if (!lender_) return;
    const sys::Lock lock(lender_->mutex_);
    --interval_->lent;
    lender_->changed_.notify_all();
}

Loan SpaceState::lend(const std::shared_ptr<const Memory::Node>& memory, const MapOptions& options) noexcept {
    const sys::Lock lock(mutex_);
    if (!ioas_ || memory->is_dma_buf() || options.offset >= memory->size()) return {};
    const std::uint64_t length = options.length != 0 ? options.length : memory->size() - options.offset;
    for (auto& [first, interval] : intervals_.all()) {
        if (interval.memory != memory || interval.phase != Phase::settled || interval.abandoned) continue;
        if (options.offset < interval.offset || length > interval.length() ||
            options.offset - interval.offset > interval.length() - length)
            continue;
        ++interval.lent;
        return {shared_from_this(), ioas_, interval, first + (options.offset - interval.offset)};
    }
    return {};
}

}  // namespace iommufd::inline v0_1::dma
