// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a vDPA device can reach: a table of ranges, each at an address of the program that owns the device (Linux: vhost_iotlb).
// Not locked: it belongs to one device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "model/physical.hpp"

namespace iommufd::inline v0_1::model {

class Iotlb {
public:
    struct Entry {
        std::uint64_t first;
        std::uint64_t last;
        physical::Address memory;
        std::uint8_t permissions;  // uapi::vhost::kAccess...
    };

    bool overlaps(std::uint64_t first, std::uint64_t last) const;
    // A range that nothing overlaps.
    void add(const Entry& entry) { entries_.emplace(entry.last, entry); }
    // What nothing overlaps; it can't fail.
    void merge(Iotlb& added) noexcept { entries_.merge(added.entries_); }
    // All entries that overlap, as a whole.
    void remove(std::uint64_t first, std::uint64_t last);
    void clear() { entries_.clear(); }
    std::size_t size() const { return entries_.size(); }

    // All of it or, where some isn't mapped for that, -EFAULT and how much was moved before in `*moved`.
    int read(std::uint64_t iova, std::span<std::byte> to, std::size_t& moved) const;
    int write(std::uint64_t iova, std::span<const std::byte> from, std::size_t& moved) const;

private:
    // Where the range starts in memory, and how much of it one entry has.
    std::size_t look_up(std::uint64_t iova, std::size_t length, std::uint8_t permission,
                        physical::Address& memory) const;

    std::map<std::uint64_t, Entry> entries_;  // by last: lower_bound(x) is the first one not before x
};

}  // namespace iommufd::inline v0_1::model
