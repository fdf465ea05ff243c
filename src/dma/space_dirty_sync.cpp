// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What was written, read and told: by a sync, and before an unmap.
//
//     sync     collect: page tables and logs, part by part --> marks       deliver: marks, window by window --> runs
//     unmap    page tables, keeping the bits, since the unmap drops them --> marks; take out; logs --> marks
//
// So whatever fails, what is known is in the marks, and told by a later sync.
//
// A part is what one kernel call reads: mapped without a hole, since the kernel skips what is behind one in silence, and ending
// where no I/O page does not. While it is in the kernel, none of it is unmapped.
#include <algorithm>
#include <cerrno>

#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/dma/dirty_runs.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

constexpr std::uint64_t kPage = DirtyMarks::kPage;
// Of IOVAs, delivered at a time: 32 KiB of marks.
constexpr std::uint64_t kWindow = std::uint64_t{1} << 30;
constexpr std::size_t kRunsAtOnce = 1024;

std::size_t words_for(Range range) { return static_cast<std::size_t>((range.length() / kPage - 1) / 64 + 1); }

// To be read: what is being unmapped is read by who unmaps it, and what is being mapped is not there yet.
bool is_there(const Interval& interval) noexcept {
    return interval.is_written_by_devices() && interval.phase != Phase::mapping &&
           interval.phase != Phase::unmapping;
}

// Collects runs, and hands over many at a time.
class Runs {
public:
    Runs(std::vector<Range>& runs, DirtyLog::Call visit) : runs_(runs), visit_(visit) {}

    void add(Range run) {
        bytes_ += run.length();
        if (!runs_.empty() && runs_.back().last + 1 == run.first) {
            runs_.back().last = run.last;
            return;
        }
        if (runs_.size() == kRunsAtOnce) flush();
        runs_.push_back(run);
    }
    std::uint64_t flush() {
        if (!runs_.empty()) visit_(runs_);
        runs_.clear();
        return bytes_;
    }

private:
    std::vector<Range>& runs_;  // has room for so many
    const DirtyLog::Call visit_;
    std::uint64_t bytes_ = 0;
};

}  // namespace

// While one lives, marks have room.
class SpaceState::DirtyUse {
public:
    explicit DirtyUse(SpaceState& space) : space_(space) {
        const sys::Lock lock(space_.mutex_);
        if (!space_.dirty_) return;
        used_ = true;
        ++space_.dirty_->users;
    }
    ~DirtyUse() {
        if (!used_) return;
        const sys::Lock lock(space_.mutex_);
        --space_.dirty_->users;
        space_.changed_.notify_all();
    }
    DirtyUse(const DirtyUse&) = delete;
    DirtyUse& operator=(const DirtyUse&) = delete;
    explicit operator bool() const noexcept { return used_; }

private:
    SpaceState& space_;
    bool used_ = false;
};

// While one lives, nothing in its range is unmapped, and the trails of its plan go on. Within a DirtyUse.
class SpaceState::DirtyReading {
public:
    explicit DirtyReading(SpaceState& space) : space_(space) {}
    ~DirtyReading() {
        if (!begun_) return;
        const sys::Lock lock(space_.mutex_);
        auto** link = &space_.dirty_->readings;
        while (*link != &reading_) link = &(*link)->next;
        *link = reading_.next;
        space_.changed_.notify_all();
    }
    DirtyReading(const DirtyReading&) = delete;
    DirtyReading& operator=(const DirtyReading&) = delete;

    // With the space's mutex.
    void begin(Range range, const DirtyPlan& plan, DirtyState& state) {
        reading_ = {.range = range, .plan = &plan, .next = state.readings};
        state.readings = &reading_;
        begun_ = true;
    }

private:
    SpaceState& space_;
    DirtyState::Reading reading_{};
    bool begun_ = false;
};

// --- collect ------------------------------------------------------------------------------------

// The next part of what is mapped at `at` or behind it, to `last`. `covered`: the plan's trails tell of it, so it begins and
// ends where they can be read; else all of it counts as written to.
bool SpaceState::next_part(const DirtyPlan& plan, Iova at, Iova last, Range& part, bool& covered) {
    const auto end = intervals_.all().end();
    auto it = intervals_.at_or_after(at);
    while (it != end && it->second.range.first <= last && !is_there(it->second)) ++it;
    if (it == end || it->second.range.first > last) return false;
    const Interval& first = it->second;
    covered = plan.covers(first);
    if (!covered) {
        part = {std::max(at, first.range.first), std::min(last, first.range.last)};
        return true;
    }
    part.first = plan.start_of_read(first, at);
    const std::uint64_t chunk = dirty_->options.chunk - 1;
    const Iova wanted = last - part.first > chunk ? part.first + chunk : last;
    part.last = plan.end_of_read(first, wanted);
    while (part.last < wanted && ++it != end && it->second.range.first == part.last + 1 &&
           is_there(it->second) && plan.covers(it->second))
        part.last = plan.end_of_read(it->second, wanted);
    return true;
}

// Into the marks; a part that could not be read counts as written to.
Result<void> SpaceState::read_trails(const DirtyPlan& plan, Range range, core::Hwpt::Dirty after,
                                     std::vector<std::uint64_t>& bits) noexcept {
    return guarded(Operation::hwpt_get_dirty_bitmap, [&]() -> Result<void> {
        // Written to just before, so that the kernel finds it there: it loses what it can't write, in silence.
        bits.assign(words_for(range), 0);
        Result<void> result;
        for (const DirtyTrail& trail : plan.trails)
            if (auto read = trail.read(range, bits, after); !read && result) result = std::move(read);
        if (result)
            readers_->marks().add(range.first, bits);
        else
            readers_->marks().mark(range);
        return result;
    });
}

// `only`: not what the space's plan says, but this.
Result<void> SpaceState::collect_dirty(Range range, const std::shared_ptr<const DirtyPlan>& only,
                                       std::vector<std::uint64_t>& bits) {
    const DirtyUse use(*this);
    if (!use) return {};
    for (Iova at = range.first;;) {
        Range part{};
        bool covered = false;
        std::shared_ptr<const DirtyPlan> plan = only;
        DirtyReading reading(*this);
        {
            const sys::Lock lock(mutex_);
            if (!plan) plan = dirty_->plan;
            if (!next_part(*plan, at, range.last, part, covered)) return {};
            reading.begin(part, *plan, *dirty_);
        }
        if (!covered)
            readers_->marks().mark(part);
        else if (auto read = read_trails(*plan, part, core::Hwpt::Dirty::clear, bits); !read)
            return read;
        if (part.last >= range.last) return {};
        at = part.last + 1;
    }
}

// --- deliver ------------------------------------------------------------------------------------

void SpaceState::deliver_dirty(Range range, DirtyLog::Call visit, std::span<std::uint64_t> bits,
                               std::vector<Range>& runs, DirtySync& sync) noexcept {
    std::chrono::milliseconds patience{};
    Runs out(runs, visit);
    for (Iova at = range.first;;) {
        std::optional<Range> stretch;
        {
            const sys::Lock lock(mutex_);
            stretch = readers_->marks().covered(at);
            patience = dirty_->options.patience;
        }
        if (!stretch || stretch->first > range.last) break;
        const Iova first = std::max(at, stretch->first);
        const Range window{first, std::min({stretch->last, range.last, Iova{first.value | (kWindow - 1)}})};
        const Iova base{first.value / DirtyMarks::kWord * DirtyMarks::kWord};
        std::ranges::fill(bits, 0);
        if (readers_->marks().take(window, bits)) {
            // Who marked a page writes to it as long as its guard lives.
            if (!readers_->outwait(std::chrono::steady_clock::now() + patience))
                readers_->marks().add(base, bits);
            DirtyRuns dirty(bits, (window.first - base) / kPage, (window.last - base) / kPage + 1);
            for (auto some = dirty.next(); !some.empty(); some = dirty.next())
                for (const BitRun& run : some)
                    out.add({base + run.first * kPage, base + (run.end * kPage - 1)});
        }
        if (window.last >= range.last) break;
        at = window.last + 1;
    }
    sync.bytes = out.flush();
}

Result<DirtySync> SpaceState::sync_dirty(Range range, DirtyLog::Call visit) {
    return guarded(Operation::hwpt_get_dirty_bitmap, [&]() -> Result<DirtySync> {
        const DirtyUse use(*this);
        const Range pages{Iova{range.first.value & ~(kPage - 1)}, Iova{range.last.value | (kPage - 1)}};
        std::vector<std::uint64_t> window(kWindow / DirtyMarks::kWord);
        std::vector<Range> runs;
        runs.reserve(kRunsAtOnce);
        std::vector<std::uint64_t> bits;
        if (auto collected = collect_dirty(pages, nullptr, bits); !collected)
            return collected.error().within(compose("cannot tell the dirty pages of '", id_, "'"));
        DirtySync sync;
        {
            const sys::Lock lock(mutex_);
            sync.from = dirty_->plan->from;
            sync.changed = std::exchange(dirty_->changed, false);
        }
        deliver_dirty(pages, visit, window, runs, sync);
        return sync;
    });
}

// --- unmap --------------------------------------------------------------------------------------

// Throws bad_alloc, and then nothing has changed. What no trail tells of is marked here.
SpaceState::LastBits SpaceState::prepare_last_bits(const Interval* intervals) {
    LastBits last{.plan = dirty_->plan, .bits = {}};
    std::size_t words = 0;
    for (const Interval* interval = intervals; interval; interval = interval->next)
        if (interval->is_written_by_devices()) words = std::max(words, words_for(interval->range));
    if (!last.plan->trails.empty()) last.bits.reserve(words);
    for (const Interval* interval = intervals; interval; interval = interval->next)
        if (interval->is_written_by_devices() && !last.plan->covers(*interval))
            readers_->marks().mark(interval->range);
    ++dirty_->users;
    return last;
}

// They are marked as being unmapped, so no other part will hold them.
void SpaceState::wait_for_dirty_reads(const Interval* intervals) {
    const auto is_read = [&]() IOMMUFD_REQUIRES(mutex_) {
        for (const auto* reading = dirty_->readings; reading; reading = reading->next)
            for (const Interval* interval = intervals; interval; interval = interval->next)
                if (reading->range.overlaps(interval->range)) return true;
        return false;
    };
    while (is_read()) changed_.wait(mutex_);
}

// For that source: page tables before the unmap, which drops their bits; logs after it, when no more is written.
void SpaceState::read_last_bits(LastBits& last, const Interval* intervals, DirtyFrom from) noexcept {
    if (last.plan->from != from) return;
    for (const Interval* interval = intervals; interval; interval = interval->next)
        if (interval->is_written_by_devices() && last.plan->covers(*interval))
            if (auto read = read_trails(*last.plan, interval->range, core::Hwpt::Dirty::keep, last.bits);
                !read)
                report(Severity::warning, read.error());
}

void SpaceState::end_last_bits() noexcept {
    --dirty_->users;
    changed_.notify_all();
}

void SpaceState::take_dirty(Range range, std::vector<Range>& dirty) noexcept {
    const DirtyUse use(*this);
    if (!use) return;
    const auto taken = guarded(Operation::ioas_unmap, [&]() -> Result<void> {
        std::vector<std::uint64_t> window(kWindow / DirtyMarks::kWord);
        std::vector<Range> runs;
        runs.reserve(kRunsAtOnce);
        struct Append {
            std::vector<Range>& to;
            DirtyMarks& marks;
        } append{dirty, readers_->marks()};
        DirtySync sync;
        deliver_dirty(range,
                      {&append,
                       [](const void* visitor, std::span<const Range> some) {
                           const auto& [to, marks] = *static_cast<const Append*>(visitor);
                           const auto appended = guarded(Operation::ioas_unmap, [&]() -> Result<void> {
                               to.insert(to.end(), some.begin(), some.end());
                               return {};
                           });
                           if (!appended)
                               for (const Range& run : some) marks.mark(run);
                       }},
                      window, runs, sync);
        return {};
    });
    (void)taken;  // else the marks stay where they are
}

}  // namespace iommufd::inline v0_1::dma
