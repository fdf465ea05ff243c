// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// As whom a command runs, and the giving up of everything else.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::cli {

struct Account {
    uid_t user;
    gid_t group;
    std::vector<gid_t> groups;  // all of them
    std::string name;           // empty where the user is a number that nobody has
    std::string home;
    std::string shell;
};

// "USER" or "USER:GROUP", each a name or a number. ENOENT: there is none; EINVAL: a number that nobody has, without a group.
Result<Account> find_account(std::string_view text);

// Turns this process into the account's. EPERM: that needs CAP_SETUID and CAP_SETGID. For a program with one thread.
Result<void> become(const Account& account);

// Empties the bounding set, where this process may (CAP_SETPCAP).
Result<void> empty_bounding_set();
// Gives up every other capability, in all sets, and the ways to new ones: the programs that this process becomes gain nothing from
// set-user-ID bits and file capabilities (no_new_privs). Looks afterwards whether that is so.
Result<void> give_up_capabilities();

}  // namespace iommufd::inline v0_1::cli
