// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/iovas.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// Page sizes that IOMMUs have, largest first.
constexpr std::uint64_t kPages[] = {1_GiB, 2_MiB};

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

// The first address at or after `from` that is `remainder` modulo `modulus`; nothing past 2^64.
std::optional<Iova> congruent(Iova from, std::uint64_t remainder, std::uint64_t modulus) {
    const std::uint64_t up = (remainder - from.value) & (modulus - 1);
    if (from.value + up < from.value) return std::nullopt;
    return from + up;
}

std::optional<Iova> first_fit(const Intervals& intervals, std::span<const Range> allowed,
                              std::uint64_t length, std::uint64_t remainder, std::uint64_t modulus) {
    for (const Range& range : allowed) {
        // IOVA 0 looks like a null pointer to too many devices.
        auto candidate = congruent(std::max(range.first, Iova{1}), remainder, modulus);
        for (auto next = intervals.all().begin(); candidate; ++next) {
            const auto wanted = Range::of(*candidate, length);
            if (!wanted || !range.contains(*wanted)) break;
            while (next != intervals.all().end() && next->second.range.last < *candidate) ++next;
            if (next == intervals.all().end() || !next->second.range.overlaps(*wanted)) return candidate;
            if (next->second.range.last.value == ~std::uint64_t{0}) break;
            candidate = congruent(next->second.range.last + 1, remainder, modulus);
        }
    }
    return std::nullopt;
}

}  // namespace

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

std::optional<Iova> choose_iova(const Intervals& intervals, std::span<const Range> allowed,
                                std::uint64_t length, std::uint64_t address, std::uint64_t alignment) {
    for (const std::uint64_t page : kPages)
        if (length >= page)
            if (const auto found = first_fit(intervals, allowed, length, address % std::max(page, alignment),
                                             std::max(page, alignment)))
                return found;
    return first_fit(intervals, allowed, length, address % alignment, alignment);
}

}  // namespace iommufd::inline v0_1::dma
