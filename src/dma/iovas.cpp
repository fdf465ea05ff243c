// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/iovas.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

std::string list(std::span<const Range> ranges) {
    std::string text;
    for (const Range& range : ranges)
        text += compose(text.empty() ? "" : ", ", Hex{range.first.value}, "-", Hex{range.last.value});
    return text;
}

std::vector<Range> intersection(std::span<const Range> a, std::span<const Range> b) {
    std::vector<Range> common;
    for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
        if (x->overlaps(*y)) common.push_back({std::max(x->first, y->first), std::min(x->last, y->last)});
        if (x->last < y->last)
            ++x;
        else
            ++y;
    }
    return common;
}

}  // namespace

Bound bound_of(const Attachable& device) {
    return {.who = device.name(), .ranges = addressable(device.dma_bits()), .alignment = 1};
}

Bound bound_of(const Sink& sink, Limits&& limits) {
    return {.who = sink.describe(), .ranges = std::move(limits.ranges), .alignment = limits.alignment};
}

std::vector<Range> addressable(unsigned bits) {
    const std::uint64_t last = bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    return {{Iova{0}, Iova{last}}};
}

std::vector<Range> common_ranges(std::span<const Bound> bounds) {
    std::vector<Range> common = addressable(64);
    for (const Bound& bound : bounds) common = intersection(common, bound.ranges);
    return common;
}

Result<void> check_bounds(std::span<const Bound> bounds, const Interval& interval) {
    const Range range = interval.range;
    const auto address = reinterpret_cast<std::uintptr_t>(interval.address());
    for (const Bound& bound : bounds) {
        if (std::ranges::none_of(bound.ranges, [&](const Range& allowed) { return allowed.contains(range); }))
            return Error::refused(EINVAL, compose("cannot map ", interval.describe()),
                                  compose(bound.who, " reaches ", list(bound.ranges), " only"),
                                  "choose an IOVA within those, or leave the choice to the space");
        for (const std::uint64_t value : {range.first.value, range.length(), interval.granule, address})
            if (value % bound.alignment != 0)
                return Error::refused(
                    EINVAL, compose("cannot map ", interval.describe()),
                    compose(bound.who, " takes multiples of ", size_text(bound.alignment), " only"),
                    "align the address, IOVA, size and granule to that");
    }
    return {};
}

}  // namespace iommufd::inline v0_1::dma
