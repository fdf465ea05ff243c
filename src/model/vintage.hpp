// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What older kernels lack of /dev/iommu, which grew by commands, by members at the end of structs, and by flags.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "iommufd/model/machine.hpp"
#include "uapi/commands.hpp"

namespace iommufd::inline v0_1::model::vintage {

// "6.11"
constexpr KernelVersion version_of(std::string_view text) {
    const std::size_t dot = text.find('.');
    const auto number = [](std::string_view digits) {
        unsigned value = 0;
        for (const char digit : digits) value = 10 * value + static_cast<unsigned>(digit - '0');
        return value;
    };
    return {.major = number(text.substr(0, dot)), .minor = number(text.substr(dot + 1))};
}

// The first that attaches devices by PASID.
inline constexpr KernelVersion kPasids{.major = 6, .minor = 15};
// The first whose vfio-pci exports a BAR.
inline constexpr KernelVersion kDmaBufferOfBar{.major = 6, .minor = 19};

// How many of the commands, in the order of their numbers, a kernel has.
constexpr unsigned commands_of(KernelVersion kernel) {
    return static_cast<unsigned>(std::ranges::count_if(
        uapi::kCommands, [&](const uapi::Command& command) { return version_of(command.since) <= kernel; }));
}

// How large it knows the struct of a command.
constexpr std::uint32_t size_of(uapi::Request request, std::uint32_t now, KernelVersion kernel) {
    constexpr std::uint32_t kHwptWithData = offsetof(uapi::HwptAlloc, fault_id);
    const auto before = [&](unsigned major, unsigned minor) {
        return kernel < KernelVersion{.major = major, .minor = minor};
    };
    const std::uint32_t first =
        uapi::find_command(request) == nullptr ? now : uapi::find_command(request)->minimum_size;
    if (request == uapi::kHwptAlloc && before(6, 11)) return before(6, 8) ? first : kHwptWithData;
    if (request == uapi::kGetHwInfo && before(6, 7)) return first;
    if (request == uapi::kViommuAlloc && before(6, 17)) return first;
    return now;
}

constexpr std::uint32_t hwpt_flags_of(KernelVersion kernel) {
    std::uint32_t flags = 0;
    if (kernel >= KernelVersion{.major = 6, .minor = 7})
        flags |= uapi::kHwptNestParent | uapi::kHwptDirtyTracking;
    if (kernel >= KernelVersion{.major = 6, .minor = 11}) flags |= uapi::kHwptFaultIdValid;
    if (kernel >= kPasids) flags |= uapi::kHwptPasid;
    return flags;
}

// The first whose intel driver makes first-stage page tables for programs, where nothing asks for another.
inline constexpr KernelVersion kFirstStageForAll{.major = 6, .minor = 13};

// The first that tells of an erratum of VT-d, on every one.
inline constexpr KernelVersion kVtdErratum{.major = 6, .minor = 7};

// The first in which SMMUv3's driver, and AMD's, tell of their registers, and the first whose SMMUv3 tracks dirty pages.
inline constexpr KernelVersion kSmmuv3Info{.major = 6, .minor = 13};
inline constexpr KernelVersion kAmdInfo{.major = 7, .minor = 0};
inline constexpr KernelVersion kSmmuv3Dirty{.major = 6, .minor = 11};

constexpr std::uint32_t hw_info_flags_of(KernelVersion kernel) {
    return kernel >= KernelVersion{.major = 6, .minor = 17} ? uapi::kHwInfoInputType : 0;
}

}  // namespace iommufd::inline v0_1::model::vintage
