// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which page of memory an address of the program leads to. Two addresses lead to one page where both show the
// same page of a file (shared anonymous memory is one, too); private memory is known by its address.
#pragma once

#include <sys/types.h>

#include <compare>
#include <optional>
#include <vector>

#include "model/user.hpp"

namespace iommufd::inline v0_1::model {

struct PageIdentity {
    dev_t container;  // 0: private memory
    ino_t inode;
    std::uint64_t page;  // of the file, or of the address space
    auto operator<=>(const PageIdentity&) const = default;
};

// The address space at one moment.
class PageIdentities {
public:
    PageIdentities();

    // None where nothing is mapped that could be read.
    std::optional<PageIdentity> of(user::Address address) const;

private:
    struct Piece {
        user::Address first;
        user::Address last;
        dev_t container;
        ino_t inode;
        std::uint64_t offset;
        bool shared;
        bool readable;
    };
    std::vector<Piece> pieces_;  // ascending
};

}  // namespace iommufd::inline v0_1::model
