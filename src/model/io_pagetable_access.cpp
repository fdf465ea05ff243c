// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory of an IOAS for those who have no page table: pinned by the page, or copied by the byte.
#include <algorithm>
#include <cerrno>
#include <new>

#include "model/io_pagetable.hpp"

namespace iommufd::inline v0_1::model {
namespace {

unsigned permission_for(bool write) { return write ? kWritable : kReadable; }

// As far as copy_to_user() comes, so does this: what lies before the page that is missing is moved.
int copy_as_the_program(physical::Address address, const IoPagetable::Transfer& transfer) {
    return transfer.write ? physical::write(address, transfer.data.data(), transfer.data.size())
                          : physical::read(transfer.data.data(), address, transfer.data.size());
}

int transfer_piece(const Pages& pages, std::uint64_t byte, const IoPagetable::Transfer& transfer) {
    if (transfer.write && !pages.writable()) return -EPERM;
    if (pages.is_dma_buffer()) return -EINVAL;
    const std::uint64_t length = transfer.data.size();
    const bool one_page = byte / user::kPage == (byte + length - 1) / user::kPage;
    if (!pages.is_user() || (transfer.as_another_process && !one_page))
        if (const int rc = pages.populate(byte, length); rc < 0) return rc;
    return copy_as_the_program(pages.memory(byte), transfer);
}

}  // namespace

int IoPagetable::add_user(IovaUser& user) {
    try {
        users_.push_back(&user);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    const int rc = recompute_alignment();
    if (rc < 0) users_.pop_back();
    return rc;
}

void IoPagetable::remove_user(const IovaUser& user) {
    users_.erase(std::ranges::find(users_, &user));
    (void)recompute_alignment();  // it only becomes smaller
}

int IoPagetable::pin(std::uint64_t iova, std::uint64_t length, bool write, bool lock) {
    if (length == 0) return -EINVAL;
    const std::uint64_t last = iova + length - 1;
    if (last < iova) return -EOVERFLOW;
    const auto pin_one = [&](Area& area, std::uint64_t from, std::uint64_t to) {
        // Whole pages, except at the end of the range.
        const bool inner_end_is_aligned =
            last <= area.last || area.byte_at(area.last) % user::kPage == user::kPage - 1;
        if (area.byte_at(from) % user::kPage != 0 || !inner_end_is_aligned) return -EINVAL;
        if ((area.permissions & permission_for(write)) == 0) return -EPERM;
        Pages& pages = *area.pages;
        if (write && !pages.writable()) return -EPERM;
        if (pages.is_dma_buffer()) return -EINVAL;
        if (const int rc = pages.populate(area.byte_at(from), to - from + 1); rc < 0) return rc;
        if (const int rc = pages.hold(area.byte_at(from), to - from + 1); rc < 0) return rc;
        ++area.accesses;
        if (lock) ++area.locks;
        return 0;
    };
    for (std::uint64_t from = iova;;) {
        auto* const area = const_cast<Area*>(area_at(from));
        const std::uint64_t to = area == nullptr ? 0 : std::min(last, area->last);
        const int rc = area == nullptr ? -ENOENT : pin_one(*area, from, to);
        if (rc < 0) {
            if (from != iova) unpin(iova, from - iova, lock);
            return rc;
        }
        if (to == last) return 0;
        from = to + 1;
    }
}

void IoPagetable::unpin(std::uint64_t iova, std::uint64_t length, bool lock) {
    const std::uint64_t last = iova + length - 1;
    for (std::uint64_t from = iova;;) {
        auto* const area = const_cast<Area*>(area_at(from));
        if (area == nullptr) return;
        const std::uint64_t to = std::min(last, area->last);
        area->pages->drop(area->byte_at(from), to - from + 1);
        --area->accesses;
        if (lock) --area->locks;
        if (to == last) return;
        from = to + 1;
    }
}

std::vector<physical::Address> IoPagetable::addresses(std::uint64_t iova, std::uint64_t length) const {
    std::vector<physical::Address> found;
    const std::uint64_t last = iova + length - 1;
    for (std::uint64_t from = iova;;) {
        const Area* const area = area_at(from);
        if (area == nullptr) return found;
        const std::uint64_t to = std::min(last, area->last);
        const std::uint64_t last_page = area->byte_at(to) / user::kPage;
        for (std::uint64_t page = area->byte_at(from) / user::kPage; page <= last_page; ++page)
            found.push_back(area->pages->memory(page * user::kPage));
        if (to == last) return found;
        from = to + 1;
    }
}

int IoPagetable::transfer(const Transfer& transfer) const {
    if (transfer.data.empty()) return -EINVAL;
    const std::uint64_t last = transfer.iova + transfer.data.size() - 1;
    if (last < transfer.iova) return -EOVERFLOW;
    Transfer rest = transfer;
    for (;;) {
        const Area* const area = area_at(rest.iova);
        if (area == nullptr) return -ENOENT;
        if ((area->permissions & permission_for(transfer.write)) == 0) return -EPERM;
        Transfer piece = rest;
        piece.data = rest.data.first(std::min<std::uint64_t>(rest.data.size(), area->last - rest.iova + 1));
        if (const int rc = transfer_piece(*area->pages, area->byte_at(rest.iova), piece); rc < 0) return rc;
        rest.data = rest.data.subspan(piece.data.size());
        if (rest.data.empty()) return 0;
        rest.iova = area->last + 1;
    }
}

std::uint64_t IoPagetable::iova_of_nth(std::uint64_t area_and_offset) const {
    auto number = static_cast<std::uint32_t>(area_and_offset);
    for (const auto& [last, area] : areas_)
        if (number-- == 0) return area.first + (area_and_offset >> 32);
    return 0;
}

}  // namespace iommufd::inline v0_1::model
