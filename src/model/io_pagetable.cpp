// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/io_pagetable.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <limits>
#include <new>
#include <utility>

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();

bool overlap(const IovaRange& one, std::uint64_t first, std::uint64_t last) {
    return one.first <= last && one.last >= first;
}

}  // namespace

int IoPagetable::Plan::populate() const {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
        const Piece& piece = pieces_[i];
        if (!wants_populate_[i]) continue;
        if (const int rc = piece.pages->populate(piece.first_byte, piece.length); rc < 0) return rc;
    }
    return 0;
}

IoPagetable::~IoPagetable() {
    std::uint64_t unmapped = 0;
    (void)unmap(0, kEnd, unmapped);
}

int IoPagetable::reserve(std::vector<Piece> pieces, std::optional<std::uint64_t> fixed, unsigned permissions,
                         Plan& plan) {
    std::uint64_t length = 0;
    for (const Piece& piece : pieces) length += piece.length;
    if (length % alignment_ != 0 || length == 0) return -EINVAL;
    const std::uint64_t hint = pieces.front().pages->hint(pieces.front().first_byte);
    std::uint64_t iova = fixed.value_or(0);
    const int found = fixed ? check_iova(iova, length) : find_iova(hint, length, iova);
    if (found < 0) return found;

    plan.iova_ = iova;
    plan.areas_.reserve(pieces.size());
    plan.wants_populate_.reserve(pieces.size());
    for (const Piece& piece : pieces) {
        Area* area = nullptr;
        if (const int rc = insert(iova, piece, permissions, area); rc < 0) {
            for (const Area* made : plan.areas_) abort(made);
            return rc;
        }
        plan.areas_.push_back(area);
        plan.wants_populate_.push_back(has_domains() && !piece.pages->held(piece.first_byte, piece.length));
        iova += piece.length;
    }
    plan.pieces_ = std::move(pieces);
    return 0;
}

int IoPagetable::insert(std::uint64_t iova, const Piece& piece, unsigned permissions, Area*& area) {
    if ((permissions & kWritable) != 0 && !piece.pages->writable()) return -EPERM;
    if (piece.first_byte % user::kPage % alignment_ != 0) return -EINVAL;
    const std::uint64_t last = iova + piece.length - 1;
    try {
        area = &areas_[last];
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    *area = {.first = iova,
             .last = last,
             .pages = nullptr,
             .first_byte = piece.first_byte,
             .permissions = permissions};
    ++in_flight_;
    return 0;
}

void IoPagetable::abort(const Area* area) {
    areas_.erase(area->last);
    --in_flight_;
}

int IoPagetable::publish(Plan& plan, int populated) {
    int rc = populated;
    std::size_t filled = 0;
    for (; rc == 0 && filled < plan.areas_.size(); ++filled) {
        rc = fill(*plan.areas_[filled], plan.pieces_[filled].pages);
        if (rc < 0) break;
    }
    for (std::size_t i = 0; i < plan.areas_.size(); ++i) {
        Area* const area = plan.areas_[i];
        if (rc == 0) {
            area->pages = std::move(plan.pieces_[i].pages);
            --in_flight_;
        } else {
            if (i < filled) unfill(*area, *plan.pieces_[i].pages);
            abort(area);
        }
    }
    return rc;
}

int IoPagetable::pieces(std::uint64_t iova, std::uint64_t length, std::vector<Piece>& found) const {
    if (length == 0) return -EINVAL;
    const std::uint64_t last = iova + length - 1;
    if (last < iova) return -EOVERFLOW;
    for (;;) {
        const Area* const area = area_at(iova);
        if (area == nullptr) return -ENOENT;
        const std::uint64_t end = std::min(last, area->last);
        found.push_back({.pages = area->pages, .first_byte = area->byte_at(iova), .length = end - iova + 1});
        if (end == last) return 0;
        iova = end + 1;
    }
}

int IoPagetable::unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& unmapped) {
    for (auto found = areas_.lower_bound(first); found != areas_.end();) {
        Area& area = found->second;
        if (area.first > last) break;
        if (!area.pages || area.locks != 0) return -EBUSY;
        if (area.first < first || area.last > last) return -ENOENT;
        if (area.accesses != 0)
            for (IovaUser* const user : users_) user->let_go(area.first, area.last);
        unfill(area, *area.pages);
        unmapped += area.length();
        found = areas_.erase(found);
    }
    return 0;
}

int IoPagetable::cut_after(std::uint64_t iova, bool& cut) {
    cut = false;
    const auto found = areas_.lower_bound(iova);
    if (found == areas_.end() || found->second.first > iova) return 0;
    Area& area = found->second;
    // Linux looks at the area's first byte where its last is meant: it isn't cut after that one either.
    if (iova == area.first || iova == area.last) return 0;
    if (!area.pages) return -EBUSY;
    if (area.pages->is_dma_buffer()) return -EOPNOTSUPP;
    if (((iova + 1) | area.byte_at(iova + 1)) % alignment_ != 0) return -EINVAL;
    if (area.accesses != 0 || (has_domains() && large_pages_)) return -EINVAL;

    Area left = area;
    left.last = iova;
    if (has_domains())
        if (const int rc = area.pages->split(area.first_byte, area.length(), left.length()); rc < 0)
            return rc;
    try {
        areas_.emplace(left.last, left);
    } catch (const std::bad_alloc&) {
        if (has_domains()) area.pages->join(area.first_byte, area.length(), left.length());
        return -ENOMEM;
    }
    area.first = iova + 1;
    area.first_byte += left.length();
    cut = true;
    return 0;
}

void IoPagetable::join_after(std::uint64_t iova) noexcept {
    const auto left = areas_.find(iova);
    Area& area = std::next(left)->second;
    const std::uint64_t length = left->second.length();
    area.first = left->second.first;
    area.first_byte = left->second.first_byte;
    areas_.erase(left);
    if (has_domains()) area.pages->join(area.first_byte, area.length(), length);
}

const Area* IoPagetable::area_at(std::uint64_t iova) const {
    const auto found = areas_.lower_bound(iova);
    if (found == areas_.end() || found->second.first > iova || !found->second.pages) return nullptr;
    return &found->second;
}

int IoPagetable::check_alignment(std::uint64_t alignment) const {
    const bool aligned = std::ranges::all_of(areas_, [&](const auto& entry) {
        const Area& area = entry.second;
        return (area.first | area.length() | area.first_byte % user::kPage) % alignment == 0;
    });
    return aligned ? 0 : -EADDRINUSE;
}

std::uint64_t IoPagetable::wanted_alignment() const noexcept {
    std::uint64_t alignment = large_pages_ ? 1 : user::kPage;
    for (const auto& domain : domains_) alignment = std::max(alignment, domain->geometry().smallest_page());
    for (const IovaUser* const user : users_) alignment = std::max(alignment, user->alignment());
    return alignment;
}

int IoPagetable::recompute_alignment() {
    const std::uint64_t wanted = wanted_alignment();
    if (wanted > alignment_)
        if (const int rc = check_alignment(wanted); rc < 0) return rc;
    alignment_ = wanted;
    return 0;
}

int IoPagetable::disable_large_pages() {
    if (!large_pages_) return 0;
    if (!domains_.empty() && !areas_.empty()) return -EINVAL;
    large_pages_ = false;
    const int rc = recompute_alignment();
    if (rc < 0) large_pages_ = true;
    return rc;
}

void IoPagetable::enable_large_pages() {
    large_pages_ = true;
    (void)recompute_alignment();  // it only becomes smaller
}

int IoPagetable::reserve_range(IovaRange range, const void* owner) {
    const auto area = areas_.lower_bound(range.first);
    if (area != areas_.end() && area->second.first <= range.last) return -EADDRINUSE;
    if (std::ranges::any_of(allowed_, [&](const auto& a) { return overlap(a, range.first, range.last); }))
        return -EADDRINUSE;
    try {
        reserved_.push_back({.range = range, .owner = owner});
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return 0;
}

void IoPagetable::release_ranges(const void* owner) {
    std::erase_if(reserved_, [&](const Reserved& reserved) { return reserved.owner == owner; });
}

}  // namespace iommufd::inline v0_1::model
