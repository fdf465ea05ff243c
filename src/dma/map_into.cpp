// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/map_into.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ranges>

#include "dma/prefault.hpp"
#include "dma/sink_calls.hpp"
#include "dma/workers.hpp"
#include "error/compose.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

using Sinks = std::span<const std::shared_ptr<Sink>>;

// What a failure left behind, added to the failure.
Error and_remains(const Error& error, const Interval& interval, const Sink& sink,
                  const Error& remains) noexcept {
    try {
        return Error::refused(error.code(), compose(error.what(), ": ", errno_name(error.code())),
                              compose(interval.describe(), " could not be taken back from ", sink.describe(),
                                      " (", errno_name(remains.code()), ") and stays reserved"),
                              "it is unmapped by a later change of the space: see not_released()");
    } catch (const std::bad_alloc&) {
        return error;
    }
}

Result<void> check(Sinks sinks, const Interval& interval) noexcept {
    Result<void> fits;
    for (const auto& sink : sinks)
        if (!interval.each_piece([&](const Piece& piece) {
                return static_cast<bool>(fits = ask([&] { return sink->check(piece); }));
            }))
            break;
    return fits;
}

Result<void> map_piece(Sink& sink, const Interval& interval, Piece piece, const PinnedElsewhere* pinned) {
    if (pinned) {
        piece.pinned_by = &pinned->ioas;
        piece.pinned_at = pinned->iova + (piece.iova - interval.range.first);
    }
    return ask([&] { return sink.map(piece); });
}

Error take_back(Sinks reached, const Interval& interval, Error failure,
                std::optional<Error>& remains) noexcept {
    for (const auto& sink : reached | std::views::reverse)
        if (auto error = remove_from(*sink, interval.range)) {
            failure = and_remains(failure, interval, *sink, *error);
            remains = std::move(error);
        }
    return failure;
}

// The parts of an interval, done by several threads.
class Parts {
public:
    Parts(const Interval& interval, const PinnedElsewhere* pinned, const BringUp& how,
          std::size_t passes) noexcept
        : interval_(interval), pinned_(pinned), how_(how), total_(interval.length() * passes) {}

    // Null: only allocates the pages.
    Result<void> put_into(Sink* sink, bool prefault) noexcept {
        next_ = 0;
        run_in_threads(how_.threads, [&](bool is_caller) {
            for (std::uint64_t start = 0, end = 0; !ended_ && take(start, end);) {
                auto result = how_.stop.stop_requested() ? stopped() : do_part(sink, prefault, start, end);
                if (!result) return end_with(result.error());
                done_ += end - start;
                if (is_caller) tell();
            }
        });
        const sys::Lock lock(mutex_);
        if (failure_) return *failure_;
        tell();
        return {};
    }

private:
    bool take(std::uint64_t& start, std::uint64_t& end) noexcept {
        start = next_;
        do {
            if (start >= interval_.length()) return false;
            end = interval_.part_end(start);
        } while (!next_.compare_exchange_weak(start, end));
        return true;
    }

    Result<void> do_part(Sink* sink, bool prefault, std::uint64_t start, std::uint64_t end) noexcept {
        Result<void> done;
        if (prefault)
            done = ask([&] {
                return dma::prefault({interval_.memory->data() + interval_.offset + start, end - start},
                                     interval_.memory->page_size(), !interval_.memory->is_read_only(), 1);
            });
        if (done && sink)
            interval_.each_piece_in(start, end, [&](const Piece& piece) {
                return static_cast<bool>(done = map_piece(*sink, interval_, piece, pinned_));
            });
        return done;
    }

    Error stopped() const noexcept {
        try {
            return Error::refused(ECANCELED, compose("mapping ", interval_.describe()),
                                  "the caller has stopped it", "nothing is mapped");
        } catch (const std::bad_alloc&) {
            return Error(Operation::ioas_map, ECANCELED);
        }
    }

    void end_with(const Error& error) noexcept {
        const sys::Lock lock(mutex_);
        if (!failure_) failure_ = error;
        ended_ = true;
    }

    void tell() const noexcept {
        if (how_.progress) how_.progress(done_, total_);
    }

    const Interval& interval_;
    const PinnedElsewhere* const pinned_;
    const BringUp& how_;
    const std::uint64_t total_;
    std::atomic<std::uint64_t> next_ = 0;
    std::atomic<std::uint64_t> done_ = 0;
    std::atomic<bool> ended_ = false;
    sys::Mutex mutex_;
    std::optional<Error> failure_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace

Result<void> map_into(Sinks sinks, const Interval& interval, const PinnedElsewhere* pinned,
                      std::optional<Error>& remains) noexcept {
    if (auto fits = check(sinks, interval); !fits) return fits;
    Result<void> mapped;
    std::size_t reached = 0;
    for (const auto& sink : sinks) {
        ++reached;
        if (!interval.each_piece([&](const Piece& piece) {
                return static_cast<bool>(mapped = map_piece(*sink, interval, piece, pinned));
            }))
            return take_back(sinks.first(reached), interval, mapped.error(), remains);
    }
    return {};
}

Result<void> map_into(Sinks sinks, const Interval& interval, const PinnedElsewhere* pinned,
                      std::optional<Error>& remains, const BringUp& how) noexcept {
    if (auto fits = check(sinks, interval); !fits) return fits;
    Parts parts(interval, pinned, how, std::max<std::size_t>(sinks.size(), 1));
    if (sinks.empty()) return parts.put_into(nullptr, how.prefault);
    std::size_t reached = 0;
    for (const auto& sink : sinks) {
        const bool first = reached++ == 0;
        if (auto mapped = parts.put_into(sink.get(), how.prefault && first); !mapped)
            return take_back(sinks.first(reached), interval, mapped.error(), remains);
    }
    return {};
}

}  // namespace iommufd::inline v0_1::dma
