// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Accesses come and go, and move between IOASes.
#include <cerrno>
#include <limits>

#include "model/context.hpp"

namespace iommufd::inline v0_1::model {

AccessObject& Context::make_access(bool pins) {
    auto access = std::make_unique<AccessObject>(pins);
    ++access->users;  // who made it
    return objects_.add(std::move(access));
}

int Context::change_ioas(AccessObject& access, Ioas* ioas) {
    if (access.ioas == ioas) return 0;
    if (ioas != nullptr) {
        if (const int rc = ioas->iopt.add_user(access); rc < 0) return rc;
        ++ioas->users;
    }
    if (access.ioas != nullptr) {
        access.let_go(0, std::numeric_limits<std::uint64_t>::max());
        access.ioas->iopt.remove_user(access);
        --access.ioas->users;
    }
    access.ioas = ioas;
    return 0;
}

void Context::drop(AccessObject& access) {
    (void)change_ioas(access, nullptr);
    objects_.remove(access);
}

void Context::close_access(AccessObject& access) {
    const sys::Lock lock(mutex_);
    drop(access);
}

}  // namespace iommufd::inline v0_1::model
