// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/dirty_plan.hpp"

#include <algorithm>

#include "core/node.hpp"
#include "dma/dirty_marks.hpp"
#include "dma/intervals.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::dma {

Result<void> DirtyTrail::start(std::span<const Range> ranges) const {
    return table ? table->set_dirty_tracking(true)
                 : device->dirty_source()->start_dirty(ranges, DirtyMarks::kPage);
}

Result<void> DirtyTrail::stop() const {
    return table ? table->set_dirty_tracking(false) : device->dirty_source()->stop_dirty();
}

Result<void> DirtyTrail::read(Range range, std::span<std::uint64_t> bitmap, core::Hwpt::Dirty after) const {
    return table ? table->read_dirty(range, DirtyMarks::kPage, bitmap, after)
                 : device->dirty_source()->read_dirty(range, DirtyMarks::kPage, bitmap);
}

std::string DirtyTrail::describe() const {
    return table ? table->node()->describe() : compose("the log of ", device->name());
}

bool DirtyPlan::covers(const Interval& interval) const noexcept {
    if (from == DirtyFrom::everything || interval.phase == Phase::stuck) return false;
    return from != DirtyFrom::devices ||
           std::ranges::any_of(logged, [&](const Range& range) { return range.contains(interval.range); });
}

namespace {

// Whether reads may be cut at multiples of `step`, and by what power of two.
std::uint64_t step_of(const std::vector<DirtyTrail>& trails) noexcept {
    std::uint64_t step = DirtyMarks::kPage;
    for (const DirtyTrail& trail : trails) {
        if (trail.largest_page == 0) return 0;
        step = std::max(step, trail.largest_page);
    }
    return step;
}

}  // namespace

Iova DirtyPlan::end_of_read(const Interval& interval, Iova wanted) const noexcept {
    std::uint64_t last = interval.range.last.value;
    if (wanted.value >= last) return interval.range.last;
    if (interval.granule != 0)
        last = std::min(last,
                        interval.range.first.value +
                            ((wanted - interval.range.first) / interval.granule + 1) * interval.granule - 1);
    if (const std::uint64_t step = step_of(trails)) last = std::min(last, wanted.value | (step - 1));
    return Iova{last};
}

Iova DirtyPlan::start_of_read(const Interval& interval, Iova wanted) const noexcept {
    std::uint64_t first = interval.range.first.value;
    if (wanted.value <= first) return interval.range.first;
    if (interval.granule != 0) first += (wanted - interval.range.first) / interval.granule * interval.granule;
    if (const std::uint64_t step = step_of(trails)) first = std::max(first, wanted.value & ~(step - 1));
    return Iova{first};
}

void join_nearest(std::vector<Range>& ranges, std::size_t most) {
    if (ranges.size() <= most) return;
    std::vector<std::size_t> gaps;  // by the number of the range behind it
    for (std::size_t i = 1; i < ranges.size(); ++i) gaps.push_back(i);
    const auto before = [&](std::size_t i) { return ranges[i].first - ranges[i - 1].last; };
    const auto kept = gaps.begin() + static_cast<std::ptrdiff_t>(most - 1);
    std::ranges::nth_element(gaps, kept, [&](std::size_t a, std::size_t b) { return before(a) > before(b); });
    std::sort(gaps.begin(), kept);
    std::size_t count = 0;
    std::size_t start = 0;
    for (auto gap = gaps.begin(); count < most; ++gap, ++count) {
        const std::size_t behind = gap < kept ? *gap : ranges.size();
        ranges[count] = {ranges[start].first, ranges[behind - 1].last};
        start = behind;
    }
    ranges.resize(most);
}

}  // namespace iommufd::inline v0_1::dma
