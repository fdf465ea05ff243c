// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A kernel as it goes from one C library to the other: the model's library makes one, this one takes it. The two could
// be of different versions, whose C++ ABIs don't fit; so it says of which it is.
//
// Threads: a constant.
#pragma once

#include <string_view>

#include "sys/kernel.hpp"

struct iommufd_kernel {
    char abi[16];  // kKernelAbi, padded with NULs; the first member for good
    iommufd::sys::Kernel* kernel;
};

namespace iommufd::inline v0_1::capi {

inline constexpr char kKernelAbi[16] = "v0_1";

}  // namespace iommufd::inline v0_1::capi
