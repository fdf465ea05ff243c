// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/io_pagetable.hpp"

#include <algorithm>
#include <cerrno>
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
    for (auto area = areas_.lower_bound(iova);; ++area) {
        if (area == areas_.end() || area->second.first > iova || !area->second.pages) return -ENOENT;
        const std::uint64_t end = std::min(last, area->second.last);
        found.push_back({.pages = area->second.pages,
                         .first_byte = area->second.first_byte + (iova - area->second.first),
                         .length = end - iova + 1});
        if (end == last) return 0;
        iova = end + 1;
    }
}

int IoPagetable::unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& unmapped) {
    for (auto found = areas_.lower_bound(first); found != areas_.end();) {
        Area& area = found->second;
        if (area.first > last) break;
        if (!area.pages) return -EBUSY;
        if (area.first < first || area.last > last) return -ENOENT;
        unfill(area, *area.pages);
        unmapped += area.length();
        found = areas_.erase(found);
    }
    return 0;
}

int IoPagetable::add_domain(std::shared_ptr<Domain> domain) {
    try {
        domains_.reserve(domains_.size() + 1);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    const std::uint64_t alignment = std::max(user::kPage, alignment_);
    if (alignment != alignment_)
        if (const int rc = check_alignment(alignment); rc < 0) return rc;
    if (domain->last() != kEnd)
        if (const int rc = reserve_range({.first = domain->last() + 1, .last = kEnd}, domain.get()); rc < 0)
            return rc;

    const bool first_domain = domains_.empty();
    auto area = areas_.begin();
    int rc = 0;
    for (; area != areas_.end(); ++area) {
        Pages& pages = *area->second.pages;
        const std::uint64_t byte = area->second.first_byte;
        const std::uint64_t length = area->second.length();
        if (first_domain && !pages.held(byte, length)) rc = pages.populate(byte, length);
        if (rc == 0 && first_domain) rc = pages.hold(byte, length);
        if (rc < 0) break;
        rc = map_into(*domain, area->second, pages);
        if (rc == 0) continue;
        if (first_domain) pages.drop(byte, length);
        break;
    }
    if (rc == 0) {
        domains_.push_back(std::move(domain));
        alignment_ = alignment;
        return 0;
    }
    while (area != areas_.begin()) {
        --area;
        domain->unmap(area->second.first, area->second.length());
        if (first_domain) area->second.pages->drop(area->second.first_byte, area->second.length());
    }
    release_ranges(domain.get());
    return rc;
}

void IoPagetable::remove_domain(const Domain* domain) {
    const auto found = std::ranges::find(domains_, domain, [](const auto& entry) { return entry.get(); });
    const std::shared_ptr<Domain> removed = std::move(*found);
    domains_.erase(found);
    for (auto& [last, area] : areas_) {
        removed->unmap(area.first, area.length());
        if (domains_.empty()) area.pages->drop(area.first_byte, area.length());
    }
    release_ranges(domain);
    recompute_alignment();
}

int IoPagetable::fill(const Area& area, const std::shared_ptr<Pages>& pages) {
    if (domains_.empty()) return 0;
    if (const int rc = pages->hold(area.first_byte, area.length()); rc < 0) return rc;
    for (auto domain = domains_.begin(); domain != domains_.end(); ++domain) {
        const int rc = map_into(**domain, area, *pages);
        if (rc == 0) continue;
        while (domain != domains_.begin()) (*--domain)->unmap(area.first, area.length());
        pages->drop(area.first_byte, area.length());
        return rc;
    }
    return 0;
}

void IoPagetable::unfill(const Area& area, Pages& pages) {
    if (domains_.empty()) return;
    for (const auto& domain : domains_) domain->unmap(area.first, area.length());
    pages.drop(area.first_byte, area.length());
}

int IoPagetable::map_into(Domain& domain, const Area& area, const Pages& pages) const {
    return domain.map(area.first, area.length(), pages.memory(area.first_byte), area.permissions,
                      large_pages_);
}

int IoPagetable::check_alignment(std::uint64_t alignment) const {
    const bool aligned = std::ranges::all_of(areas_, [&](const auto& entry) {
        const Area& area = entry.second;
        return (area.first | area.length() | area.first_byte % user::kPage) % alignment == 0;
    });
    return aligned ? 0 : -EADDRINUSE;
}

void IoPagetable::recompute_alignment() { alignment_ = domains_.empty() && large_pages_ ? 1 : user::kPage; }

int IoPagetable::disable_large_pages() {
    if (!large_pages_) return 0;
    if (!domains_.empty() && !areas_.empty()) return -EINVAL;
    if (alignment_ < user::kPage)
        if (const int rc = check_alignment(user::kPage); rc < 0) return rc;
    large_pages_ = false;
    recompute_alignment();
    return 0;
}

void IoPagetable::enable_large_pages() {
    large_pages_ = true;
    recompute_alignment();
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
