// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is mapped in an IOTLB. The kernel keeps it too, but can't be asked, answers every refusal with the
// same errno, and would unmap more than it was asked to.
//
// Not locked: it belongs to one sink.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "iommufd/dma/sink.hpp"

namespace iommufd::inline v0_1::vdpa {

class IotlbBook {
public:
    struct Entry {
        dma::Piece piece;  // its label is the string below
        std::string label;

        Range range() const noexcept { return *Range::of(piece.iova, piece.length); }
    };

    // What lies in a range.
    struct Found {
        std::vector<std::uint64_t> iovas;  // where the entries wholly inside start
        std::uint64_t bytes = 0;           // in them
        Range hull{};                      // from the first of them to the last
        const Entry* across = nullptr;     // an entry that the range would cut
    };

    // An entry that overlaps the range, if there is one.
    const Entry* overlapping(Range range) const;
    Found in(Range range) const;

    // The piece's range must be one, and free. Throws bad_alloc, and then nothing has changed.
    void add(const dma::Piece& piece);
    void remove(std::uint64_t iova) noexcept { entries_.erase(iova); }

    // Valid until the entry goes.
    std::vector<dma::Piece> pieces() const;
    std::size_t size() const noexcept { return entries_.size(); }

private:
    std::map<std::uint64_t, Entry> entries_;  // by first IOVA
};

}  // namespace iommufd::inline v0_1::vdpa
