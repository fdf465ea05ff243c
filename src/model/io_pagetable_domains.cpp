// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Keeping domains in step with the areas.
#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "model/io_pagetable.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();

}  // namespace

int IoPagetable::add_domain(std::shared_ptr<Domain> domain) {
    try {
        domains_.reserve(domains_.size() + 1);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    const Geometry& geometry = domain->geometry();
    if (geometry.smallest_page() > user::kPage) return -EINVAL;
    const std::uint64_t alignment = std::max(geometry.smallest_page(), alignment_);
    if (alignment != alignment_)
        if (const int rc = check_alignment(alignment); rc < 0) return rc;
    int rc = 0;
    if (geometry.first != 0) rc = reserve_range({.first = 0, .last = geometry.first - 1}, domain.get());
    if (rc == 0 && geometry.last != kEnd)
        rc = reserve_range({.first = geometry.last + 1, .last = kEnd}, domain.get());
    if (rc < 0) {
        release_ranges(domain.get());
        return rc;
    }

    const bool first_domain = domains_.empty();
    auto area = areas_.begin();
    for (; area != areas_.end(); ++area) {
        Pages& pages = *area->second.pages;
        if (pages.revoked()) continue;
        const std::uint64_t byte = area->second.first_byte;
        const std::uint64_t length = area->second.length();
        if (first_domain) rc = pages.populate(byte, length);
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
        Pages& pages = *area->second.pages;
        if (pages.revoked()) continue;
        domain->unmap(area->second.first, area->second.length());
        if (first_domain) pages.drop(area->second.first_byte, area->second.length());
    }
    release_ranges(domain.get());
    return rc;
}

void IoPagetable::remove_domain(const Domain* domain) {
    const auto found = std::ranges::find(domains_, domain, [](const auto& entry) { return entry.get(); });
    const std::shared_ptr<Domain> removed = std::move(*found);
    domains_.erase(found);
    for (auto& [last, area] : areas_) {
        if (area.pages->revoked()) continue;
        removed->unmap(area.first, area.length());
        if (domains_.empty()) area.pages->drop(area.first_byte, area.length());
    }
    release_ranges(domain);
    (void)recompute_alignment();  // it only becomes smaller
}

std::uint64_t IoPagetable::page_sizes() const noexcept {
    std::uint64_t sizes = kEnd;
    for (const auto& domain : domains_) sizes &= domain->geometry().page_sizes;
    if (sizes % user::kPage != 0) sizes = (sizes & ~(user::kPage - 1)) | user::kPage;
    return std::max(sizes, alignment_);
}

void IoPagetable::unmap_revoked(const Pages& pages) {
    for (const auto& [last, area] : areas_)
        if (area.pages.get() == &pages)
            for (const auto& domain : domains_) domain->unmap(area.first, area.length());
}

int IoPagetable::fill(const Area& area, const std::shared_ptr<Pages>& pages) {
    if (domains_.empty() || pages->revoked()) return 0;
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
    if (domains_.empty() || pages.revoked()) return;
    for (const auto& domain : domains_) domain->unmap(area.first, area.length());
    pages.drop(area.first_byte, area.length());
}

int IoPagetable::map_into(Domain& domain, const Area& area, const Pages& pages) const {
    const Geometry& geometry = domain.geometry();
    if (area.permissions == 0 && !geometry.maps_what_permits_nothing) return -EINVAL;
    const unsigned permissions = area.permissions | geometry.implied_permissions;
    if (geometry.refuses_read_only && (permissions & kWritable) == 0) return -EINVAL;
    std::uint64_t contiguous = user::kPage;
    if (large_pages_ && geometry.any_memory_is_contiguous)
        contiguous = kAnyLeaf;
    else if (large_pages_ && area.length() >= geometry.smallest_large_page())
        contiguous = pages.contiguity(area.first_byte, area.length());
    return domain.map(area.first, area.length(), pages.memory(area.first_byte), permissions, contiguous);
}

}  // namespace iommufd::inline v0_1::model
