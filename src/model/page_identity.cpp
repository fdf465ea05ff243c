// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/page_identity.hpp"

#include <algorithm>

namespace iommufd::inline v0_1::model {

std::optional<PageIdentity> PageIdentities::of(physical::Address address) {
    const std::uint64_t tag = physical::tag_of(address);
    if (!pieces_.contains(tag)) pieces_.emplace(tag, physical::mapped(tag));
    const std::vector<MappedPiece>& pieces = pieces_[tag];
    const std::uint64_t place = physical::without_tag(address);
    const auto piece = std::ranges::lower_bound(pieces, place, {}, &MappedPiece::last);
    if (piece == pieces.end() || piece->first > place || !piece->readable) return {};
    if (!piece->shared) return PageIdentity{.container = 0, .inode = 0, .page = address / user::kPage};
    return PageIdentity{.container = piece->container,
                        .inode = piece->inode,
                        .page = (piece->offset + (place - piece->first)) / user::kPage};
}

std::optional<PageIdentity> PageIdentities::of_user(user::Address address) {
    if (caller_ == nullptr && caller().memory(caller_) < 0) return {};
    return of(physical::in_space(caller_ ? caller_->tag() : 0, address));
}

}  // namespace iommufd::inline v0_1::model
