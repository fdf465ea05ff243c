// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The contents of an IOAS (Linux: io_pagetable): areas of IOVAs that show memory, ranges that are reserved
// or allowed, and the domains that are kept in step with the areas.
//
// Guarded by the lock of its context. Mapping has three steps, of which the middle one may take long and
// needs no lock: reserve() - Plan::populate() - publish(). In between, the areas are "in flight": they
// exclude others and can't be unmapped, and domains can't come or go.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "iommufd/model/machine.hpp"
#include "model/domain.hpp"
#include "model/pages.hpp"

namespace iommufd::inline v0_1::model {

// Overflow-safe: no range here is empty, so `last` is inclusive.
struct Area {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::shared_ptr<Pages> pages = {};  // none while in flight
    std::uint64_t first_byte = 0;       // of the pages
    unsigned permissions = 0;

    std::uint64_t length() const noexcept { return last - first + 1; }
};

class IoPagetable {
public:
    // What is to be mapped: a slice of pages.
    struct Piece {
        std::shared_ptr<Pages> pages;
        std::uint64_t first_byte;
        std::uint64_t length;
    };

    class Plan {
    public:
        std::uint64_t iova() const noexcept { return iova_; }
        // 0, or the errno with which the pages can't be pinned.
        int populate() const;

    private:
        friend class IoPagetable;
        std::uint64_t iova_ = 0;
        std::vector<Piece> pieces_;
        std::vector<Area*> areas_;  // one for each piece
        std::vector<bool> wants_populate_;
    };

    IoPagetable() = default;
    IoPagetable(const IoPagetable&) = delete;
    IoPagetable& operator=(const IoPagetable&) = delete;
    ~IoPagetable();

    // MAP and COPY. Without `fixed`, an IOVA is found. On an error nothing is in flight.
    int reserve(std::vector<Piece> pieces, std::optional<std::uint64_t> fixed, unsigned permissions,
                Plan& plan);
    // Ends what reserve() began: `populated` is what populate() said. Returns it, or what went wrong since.
    int publish(Plan& plan, int populated);
    bool in_flight() const noexcept { return in_flight_ != 0; }

    // The memory behind a range that is mapped without a gap (-ENOENT otherwise).
    int pieces(std::uint64_t iova, std::uint64_t length, std::vector<Piece>& found) const;

    // Removes the areas inside a range, one by one until something is in the way.
    int unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& unmapped);

    int add_domain(std::shared_ptr<Domain> domain);
    void remove_domain(const Domain* domain);
    bool has_domains() const noexcept { return !domains_.empty(); }

    // Ranges that no area may touch, each with its owner: a domain or a device.
    int reserve_range(IovaRange range, const void* owner);
    void release_ranges(const void* owner);
    int set_allowed(std::vector<IovaRange> allowed);
    std::vector<IovaRange> usable() const;
    std::uint64_t alignment() const noexcept { return alignment_; }

    bool large_pages() const noexcept { return large_pages_; }
    int disable_large_pages();
    void enable_large_pages();

    const std::map<std::uint64_t, Area>& areas() const noexcept { return areas_; }

private:
    struct Reserved {
        IovaRange range;
        const void* owner;
    };
    using Areas =
        std::map<std::uint64_t, Area>;  // by last IOVA: lower_bound(x) is the first one not before x

    int find_iova(std::uint64_t hint, std::uint64_t length, std::uint64_t& iova) const;
    int check_iova(std::uint64_t iova, std::uint64_t length) const;
    int insert(std::uint64_t iova, const Piece& piece, unsigned permissions, Area*& area);
    void abort(const Area* area);
    // The first range that is taken (reserved or by an area) and ends at or after `from`.
    std::optional<IovaRange> next_taken(std::uint64_t from) const;
    std::optional<IovaRange> next_reserved(std::uint64_t from) const;

    int check_alignment(std::uint64_t alignment) const;
    void recompute_alignment();
    int fill(const Area& area, const std::shared_ptr<Pages>& pages);
    void unfill(const Area& area, Pages& pages);
    int map_into(Domain& domain, const Area& area, const Pages& pages) const;

    Areas areas_;
    std::size_t in_flight_ = 0;
    std::vector<Reserved> reserved_;
    std::vector<IovaRange> allowed_;  // ascending
    std::vector<std::shared_ptr<Domain>> domains_;
    std::uint64_t alignment_ = 1;
    bool large_pages_ = true;
};

}  // namespace iommufd::inline v0_1::model
