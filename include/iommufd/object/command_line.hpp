// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// QEMU's users write -object, ours may write --object: one of the two is made of both, before a parser of
// command lines that takes -object for -o -b -j -e -c -t sees it. The same goes for -qmp.
//
// Threads: a free function.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::object {

// The arguments with -object, -device and -qmp, and only these, in their form with two dashes: "-object X" and
// "-object=X" alike. What follows one of them is its value, and after "--" there are no options: neither is
// touched.
IOMMUFD_EXPORT std::vector<std::string> normalise_argv(std::span<const char* const> arguments);

}  // namespace iommufd::inline v0_1::object
