// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <cerrno>
#include <cstring>
#include <string_view>

#include "error/compose.hpp"
#include "iommufd/core/hw_info.hpp"

namespace iommufd::inline v0_1::viommu {

// What hw_info() told of an IOMMU of that type, as the kernel's struct has it. EINVAL: it is another's. Throws bad_alloc.
template <class Registers>
Result<Registers> registers_of(const core::HwInfo& info, core::HwInfoType type, std::string_view iommu) {
    Registers registers;
    if (info.type != type || info.length < sizeof registers)
        return Error::refused(EINVAL, compose("cannot read the registers of ", iommu),
                              compose("the information is of type ", static_cast<std::uint32_t>(info.type),
                                      " and has ", info.length, " bytes"),
                              compose("ask hw_info() of a device behind ", iommu));
    std::memcpy(&registers, info.data.data(), sizeof registers);
    return registers;
}

}  // namespace iommufd::inline v0_1::viommu
