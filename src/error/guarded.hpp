// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The edge of the library: inside, containers may run out of memory by throwing; outside, nothing throws.
#pragma once

#include <cerrno>
#include <new>
#include <utility>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1 {

// f() returns a Result; a bad_alloc on its way becomes ENOMEM of that operation.
template <class F>
auto guarded(Operation operation, F&& f) noexcept -> decltype(f()) {
    try {
        return std::forward<F>(f)();
    } catch (const std::bad_alloc&) {
        return Error(operation, ENOMEM);
    }
}

// An error whose sentence is composed by describe(); without the memory for it, one without words.
template <class Describe>
Error failed(Operation operation, int code, Describe&& describe) noexcept {
    try {
        return Error(operation, code, std::forward<Describe>(describe)());
    } catch (const std::bad_alloc&) {
        return Error(operation, code);
    }
}

}  // namespace iommufd::inline v0_1
