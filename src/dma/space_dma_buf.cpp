// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory of devices in a Space. What a sink doesn't take is a warning, not an error: everything but peer-to-peer DMA works
// without it, and what its exporter has revoked can be mapped again later.
#include <algorithm>
#include <cerrno>

#include "dma/sink_calls.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

Result<void> map_dma_buf(Sink& sink, const Interval& interval) noexcept {
    return guarded(Operation::ioas_map_file, [&]() -> Result<void> {
        if (!sink.takes_dma_bufs())
            return Error::refused(EOPNOTSUPP, compose("cannot map ", interval.describe()),
                                  compose(sink.describe(), " takes memory of this process only"),
                                  "go without peer-to-peer DMA there");
        Result<void> mapped;
        if (!interval.each_piece(
                [&](const Piece& piece) { return static_cast<bool>(mapped = sink.map(piece)); }))
            (void)remove_from(sink, interval.range);
        return mapped;
    });
}

}  // namespace

void SpaceState::offer(Sink& sink, Interval& interval) noexcept {
    auto mapped = map_dma_buf(sink, interval);
    if (mapped) return;
    interval.unreached = true;
    report(Severity::warning, std::move(mapped).error());
}

Result<void> SpaceState::remap(std::uint64_t ticket, Range range) {
    return guarded(Operation::ioas_map_file, [&]() -> Result<void> {
        std::shared_ptr<const Company> company;
        Interval* interval = nullptr;
        {
            const sys::Lock lock(mutex_);
            const auto found = intervals_.at_or_after(range.first);
            if (found == intervals_.all().end() || found->second.owner != ticket ||
                found->second.range != range || !found->second.memory->is_dma_buf())
                return Error::refused(EINVAL, compose("cannot map ", Hex{range.first.value}, " again"),
                                      "it is no dma-buf, or was unmapped in part",
                                      "unmap it, and map it anew");
            if (found->second.phase != Phase::settled)
                return Error::refused(EBUSY, compose("cannot map ", found->second.describe(), " again"),
                                      compose("it is ", name(found->second.phase)),
                                      "wait for that to end, and try again");
            interval = &found->second;
            company = this->company();
            interval->phase = Phase::mapping;
            interval->generation = generation_;
        }
        interval->unreached = false;
        Result<void> mapped;
        for (const SinkPointer& sink : company->sinks) {
            if (auto remains = remove_from(*sink, range)) {
                mapped = std::move(*remains);
                interval->unreached = true;
            } else if (auto again = map_dma_buf(*sink, *interval); !again) {
                mapped = std::move(again);
                interval->unreached = true;
            }
        }
        const sys::Lock lock(mutex_);
        interval->phase = Phase::settled;
        changed_.notify_all();
        return mapped;
    });
}

}  // namespace iommufd::inline v0_1::dma
