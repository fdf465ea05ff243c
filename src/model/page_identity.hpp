// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Which page of memory an address of the program leads to. Two addresses lead to one page where both show the
// same page of a file (shared anonymous memory is one, too); private memory is known by its address.
#pragma once

#include <sys/types.h>

#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "model/physical.hpp"
#include "model/user.hpp"

namespace iommufd::inline v0_1::model {

struct PageIdentity {
    dev_t container;  // 0: private memory
    ino_t inode;
    std::uint64_t page;  // of the file, or of all address spaces
    auto operator<=>(const PageIdentity&) const = default;
};

// Address spaces at one moment.
class PageIdentities {
public:
    // None where nothing is mapped that could be read.
    std::optional<PageIdentity> of(physical::Address address);
    std::optional<PageIdentity> of_user(user::Address address);  // of the caller

private:
    std::map<std::uint64_t, std::vector<MappedPiece>> pieces_;  // by tag, ascending
    std::shared_ptr<AddressSpace> caller_;
};

}  // namespace iommufd::inline v0_1::model
