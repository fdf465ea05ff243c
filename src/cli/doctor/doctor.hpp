// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cstdint>
#include <string>

namespace iommufd::inline v0_1::cli::doctor {

struct Arguments {
    std::string device;                             // its PCI address; empty: the machine alone
    std::uint64_t memory = std::uint64_t{1} << 30;  // of the guest, in bytes
    bool json = false;
};

// `iommufd doctor`: its exit status is kDone where nothing has failed, else kFailed.
int examine(const Arguments& arguments);

}  // namespace iommufd::inline v0_1::cli::doctor
