// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which IOVAs an IOAS may use, and which it picks itself.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <utility>

#include "model/io_pagetable.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kHugePage = 2ULL << 20;

struct Wanted {
    std::uint64_t length;
    std::uint64_t alignment;
    std::uint64_t page_offset;
};

// Moves the start of a span up to where the wanted range would begin; false where it doesn't fit.
bool fit(std::uint64_t& start, std::uint64_t last, const Wanted& wanted) {
    const std::uint64_t up = start + (wanted.alignment - 1);
    if (up < start) return false;
    const std::uint64_t aligned = (up & ~(wanted.alignment - 1)) | wanted.page_offset;
    // A hole of a single byte is never used: Linux compares with >=.
    if (aligned >= last || last - aligned < wanted.length - 1) return false;
    start = aligned;
    return true;
}

}  // namespace

std::optional<IovaRange> IoPagetable::next_reserved(std::uint64_t from) const {
    std::optional<IovaRange> next;
    for (const Reserved& reserved : reserved_)
        if (reserved.range.last >= from && (!next || reserved.range.first < next->first))
            next = reserved.range;
    return next;
}

std::optional<IovaRange> IoPagetable::next_taken(std::uint64_t from) const {
    std::optional<IovaRange> next = next_reserved(from);
    const auto area = areas_.lower_bound(from);
    if (area != areas_.end() && (!next || area->second.first < next->first))
        next = IovaRange{.first = area->second.first, .last = area->second.last};
    return next;
}

int IoPagetable::find_iova(std::uint64_t hint, std::uint64_t length, std::uint64_t& iova) const {
    if (length >= kEnd / 2) return -EOVERFLOW;
    std::uint64_t alignment = std::bit_ceil(length);
    if (hint != 0) alignment = std::min(alignment, hint & (~hint + 1));
    alignment = std::min(alignment, kHugePage);
    if (alignment < alignment_) return -EINVAL;
    const Wanted wanted{.length = length, .alignment = alignment, .page_offset = hint % user::kPage};

    // Neighbouring allowed ranges are one span.
    std::vector<IovaRange> spans;
    for (const IovaRange& range : allowed_) {
        if (!spans.empty() && spans.back().last + 1 == range.first)
            spans.back().last = range.last;
        else
            spans.push_back(range);
    }
    if (spans.empty()) spans.push_back({.first = 0, .last = kEnd});

    for (IovaRange span : spans) {
        span.first = std::max(span.first, user::kPage);  // IOVA 0 is never picked
        span.last = std::min(span.last, kEnd - user::kPage);
        if (span.first > span.last || !fit(span.first, span.last, wanted)) continue;
        for (std::uint64_t hole = span.first;;) {
            const std::optional<IovaRange> taken = next_taken(hole);
            const bool ends_here = !taken || taken->first > span.last;
            if (ends_here || taken->first > hole) {
                std::uint64_t start = hole;
                if (fit(start, ends_here ? span.last : taken->first - 1, wanted)) return iova = start, 0;
            }
            if (ends_here || taken->last >= span.last) break;
            hole = taken->last + 1;
        }
    }
    return -ENOSPC;
}

int IoPagetable::check_iova(std::uint64_t iova, std::uint64_t length) const {
    if (iova % alignment_ != 0) return -EINVAL;
    const std::uint64_t last = iova + length - 1;
    if (last < iova) return -EOVERFLOW;
    if (const auto reserved = next_reserved(iova); reserved && reserved->first <= last) return -EINVAL;
    const auto area = areas_.lower_bound(iova);
    return area != areas_.end() && area->second.first <= last ? -EEXIST : 0;
}

int IoPagetable::set_allowed(std::vector<IovaRange> allowed) {
    for (const IovaRange& range : allowed)
        if (const auto reserved = next_reserved(range.first); reserved && reserved->first <= range.last)
            return -EADDRINUSE;
    allowed_ = std::move(allowed);
    std::ranges::sort(allowed_, {}, &IovaRange::first);
    return 0;
}

std::vector<IovaRange> IoPagetable::usable() const {
    std::vector<IovaRange> ranges;
    for (std::uint64_t first = 0;;) {
        const std::optional<IovaRange> reserved = next_reserved(first);
        if (!reserved || reserved->first > first)
            ranges.push_back({.first = first, .last = reserved ? reserved->first - 1 : kEnd});
        if (!reserved || reserved->last == kEnd) return ranges;
        first = reserved->last + 1;
    }
}

}  // namespace iommufd::inline v0_1::model
