// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vdpa/iotlb_book.hpp"

namespace iommufd::inline v0_1::vdpa {

const IotlbBook::Entry* IotlbBook::overlapping(Range range) const {
    auto next = entries_.upper_bound(range.last.value);
    if (next == entries_.begin()) return nullptr;
    const Entry& last = std::prev(next)->second;  // the last that starts in the range or before it
    return last.range().overlaps(range) ? &last : nullptr;
}

IotlbBook::Found IotlbBook::in(Range range) const {
    Found found;
    auto entry = entries_.upper_bound(range.first.value);
    if (entry != entries_.begin() && std::prev(entry)->second.range().overlaps(range)) --entry;
    for (; entry != entries_.end() && entry->second.range().overlaps(range); ++entry) {
        const Entry& candidate = entry->second;
        if (!range.contains(candidate.range())) {
            found.across = &candidate;
            continue;
        }
        if (found.iovas.empty()) found.hull.first = candidate.range().first;
        found.hull.last = candidate.range().last;
        found.iovas.push_back(entry->first);
        found.bytes += candidate.piece.length;
    }
    return found;
}

void IotlbBook::add(const dma::Piece& piece) {
    Entry entry{.piece = piece, .label = std::string(piece.label)};
    Entry& added = entries_.emplace(piece.iova.value, std::move(entry)).first->second;
    added.piece.label = added.label;
}

std::vector<dma::Piece> IotlbBook::pieces() const {
    std::vector<dma::Piece> all;
    all.reserve(entries_.size());
    for (const auto& [iova, entry] : entries_) all.push_back(entry.piece);
    return all;
}

}  // namespace iommufd::inline v0_1::vdpa
