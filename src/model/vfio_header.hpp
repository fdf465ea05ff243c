// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cerrno>
#include <cstddef>

#include "model/user.hpp"

namespace iommufd::inline v0_1::model {

// Most of VFIO reads a struct as far as it needs it, and ignores what follows: 0, -EFAULT, -EINVAL.
template <class T>
int vfio_header(T& value, user::Address argument, std::size_t size) {
    if (user::copy_from(&value, argument, size) < 0) return -EFAULT;
    return value.argsz < size ? -EINVAL : 0;
}

}  // namespace iommufd::inline v0_1::model
