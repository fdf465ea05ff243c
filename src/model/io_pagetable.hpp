// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The contents of an IOAS (Linux: io_pagetable): areas of IOVAs that show memory, ranges that are reserved
// or allowed, the domains that are kept in step with the areas, and those in the kernel who read the memory.
//
// Guarded by the lock of its context. Mapping has three steps, of which the middle one may take long and
// needs no lock: reserve() - Plan::populate() - publish(). In between, the areas are "in flight": they
// exclude others and can't be unmapped, and domains can't come or go.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
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
    unsigned accesses = 0;  // pins of the memory by accesses
    unsigned locks = 0;     // those of them that forbid unmap

    std::uint64_t length() const noexcept { return last - first + 1; }
    std::uint64_t byte_at(std::uint64_t iova) const noexcept { return first_byte + (iova - first); }
};

// Who reads memory by IOVA without a device (Linux: iommufd_access).
class IovaUser {
public:
    IovaUser() = default;
    IovaUser(const IovaUser&) = delete;
    IovaUser& operator=(const IovaUser&) = delete;
    virtual ~IovaUser() = default;

    virtual std::uint64_t alignment() const = 0;
    // Gives back every pin that touches the range.
    virtual void let_go(std::uint64_t first, std::uint64_t last) = 0;
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
    // Makes two areas, `cut` then, of the one that has these IOVAs at each side of a border; and one again.
    int cut_after(std::uint64_t iova, bool& cut);
    void join_after(std::uint64_t iova) noexcept;

    // io_pagetable_domains.cpp
    int add_domain(std::shared_ptr<Domain> domain);
    void remove_domain(const Domain* domain);
    bool has_domains() const noexcept { return !domains_.empty(); }
    // What all domains can map at once, as VFIO's type 1 tells it.
    std::uint64_t page_sizes() const noexcept;
    // The DMA buffer behind these pages is gone.
    void unmap_revoked(const Pages& pages);

    // io_pagetable_access.cpp
    int add_user(IovaUser& user);
    void remove_user(const IovaUser& user);
    // Pins whole pages for as long as until unpin() of the same range; `lock` forbids unmap meanwhile.
    int pin(std::uint64_t iova, std::uint64_t length, bool write, bool lock);
    void unpin(std::uint64_t iova, std::uint64_t length, bool lock);
    // Where a range is that is pinned: the address of each page.
    std::vector<physical::Address> addresses(std::uint64_t iova, std::uint64_t length) const;
    struct Transfer {
        std::uint64_t iova;
        std::span<std::byte> data;
        bool write;
        bool as_another_process;  // through pages that are pinned for it, not by the program's own mapping
    };
    int transfer(const Transfer& transfer) const;
    // For tests that can't know IOVAs: the low half is the number of an area, the high half an offset in it.
    std::uint64_t iova_of_nth(std::uint64_t area_and_offset) const;

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
    // The area at an IOVA, if it is mapped.
    const Area* area_at(std::uint64_t iova) const;

    int check_alignment(std::uint64_t alignment) const;
    std::uint64_t wanted_alignment() const noexcept;
    int recompute_alignment();
    int fill(const Area& area, const std::shared_ptr<Pages>& pages);
    void unfill(const Area& area, Pages& pages);
    int map_into(Domain& domain, const Area& area, const Pages& pages) const;

    Areas areas_;
    std::size_t in_flight_ = 0;
    std::vector<Reserved> reserved_;
    std::vector<IovaRange> allowed_;  // ascending
    std::vector<std::shared_ptr<Domain>> domains_;
    std::vector<IovaUser*> users_;
    std::uint64_t alignment_ = 1;
    bool large_pages_ = true;
};

}  // namespace iommufd::inline v0_1::model
