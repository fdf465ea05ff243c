// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/page_identity.hpp"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

namespace iommufd::inline v0_1::model {

PageIdentities::PageIdentities() {
    const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), std::fclose);
    char line[512];
    bool at_start = true;
    while (maps && std::fgets(line, sizeof line, maps.get()) != nullptr) {
        unsigned long first = 0;
        unsigned long end = 0;
        unsigned long offset = 0;
        unsigned long inode = 0;
        unsigned major = 0;
        unsigned minor = 0;
        char mode[5] = {};
        if (at_start && std::sscanf(line, "%lx-%lx %4s %lx %x:%x %lu", &first, &end, mode, &offset, &major,
                                    &minor, &inode) == 7)
            pieces_.push_back({.first = first,
                               .last = end - 1,
                               .container = ::makedev(major, minor),
                               .inode = inode,
                               .offset = offset,
                               .shared = mode[3] == 's',
                               .readable = mode[0] == 'r'});
        at_start = std::strchr(line, '\n') != nullptr;
    }
}

std::optional<PageIdentity> PageIdentities::of(user::Address address) const {
    const auto piece = std::ranges::lower_bound(pieces_, address, {}, &Piece::last);
    if (piece == pieces_.end() || piece->first > address || !piece->readable) return {};
    if (!piece->shared) return PageIdentity{.container = 0, .inode = 0, .page = address / user::kPage};
    return PageIdentity{.container = piece->container,
                        .inode = piece->inode,
                        .page = (piece->offset + (address - piece->first)) / user::kPage};
}

}  // namespace iommufd::inline v0_1::model
