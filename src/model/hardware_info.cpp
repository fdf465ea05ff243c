// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/hardware_info.hpp"

#include <algorithm>
#include <cstring>

#include "model/vintage.hpp"
#include "model/vtd_registers.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {
namespace {

template <class Registers>
HardwareInfo as_info(std::uint32_t type, const Registers& registers) {
    HardwareInfo info{.type = type, .data = std::vector<std::byte>(sizeof registers)};
    std::memcpy(info.data.data(), &registers, sizeof registers);
    return info;
}

HardwareInfo of_vtd(const Description& description) {
    const VtdRegisters registers = VtdRegisters::of(description);
    return as_info(uapi::kHwInfoVtd, uapi::HwInfoVtd{.flags = description.kernel >= vintage::kVtdErratum
                                                                  ? uapi::kHwInfoVtdErrata772415Spr17
                                                                  : 0,
                                                     .reserved = 0,
                                                     .cap_reg = registers.cap,
                                                     .ecap_reg = registers.ecap});
}

// SMMUv3.1 of 48 bits with the first stage only, which therefore nests nothing.
HardwareInfo of_smmuv3(const Description& description) {
    constexpr std::uint32_t kFirstStage = 1U << 1;
    constexpr std::uint32_t kAarch64 = 2U << 2;
    constexpr std::uint32_t kCoherent = 1U << 4;
    constexpr std::uint32_t kAccessAndDirty = 2U << 6;  // HTTU
    constexpr std::uint32_t kAsid16 = 1U << 12;
    constexpr std::uint32_t kMessages = 1U << 13;
    constexpr std::uint32_t kLittleEndian = 2U << 21;
    constexpr std::uint32_t kNoStalls = 1U << 24;
    constexpr std::uint32_t kTwoLevels = 1U << 27;
    constexpr std::uint32_t kQueues = 8U << 21 | 8U << 16;  // of 256 entries
    constexpr std::uint32_t kStreamBits = 16;
    constexpr std::uint32_t kRangeInvalidation = 1U << 10;
    constexpr std::uint32_t k48Bits = 5;
    constexpr std::uint32_t kPages4k = 1U << 4;
    uapi::HwInfoArmSmmuv3 info{};
    info.idr[0] = kFirstStage | kAarch64 | kCoherent | kAsid16 | kMessages | kLittleEndian | kNoStalls |
                  kTwoLevels | (description.dirty_tracking ? kAccessAndDirty : 0);
    info.idr[1] = kQueues | kStreamBits;
    info.idr[3] = kRangeInvalidation;
    info.idr[5] = k48Bits | kPages4k;
    info.aidr = 1;
    return as_info(uapi::kHwInfoArmSmmuv3, info);
}

}  // namespace

// Without GTSup, and so without PASIDs and guests' tables.
std::uint64_t amd_features_of(const Description& description) {
    constexpr std::uint64_t kPageRequests = 1ULL << 1;
    constexpr std::uint64_t kNoExecute = 1ULL << 3;
    constexpr std::uint64_t kInvalidateAll = 1ULL << 6;
    constexpr std::uint64_t kGuestInterrupts = 1ULL << 7;
    constexpr std::uint64_t kSixLevels = 2ULL << 10;  // HATS
    constexpr std::uint64_t kAccessed = 1ULL << 49;
    constexpr std::uint64_t kDirty = 1ULL << 52;
    const bool asks = std::ranges::any_of(description.devices, &DeviceDescription::page_requests);
    return kNoExecute | kInvalidateAll | kGuestInterrupts | kSixLevels | (asks ? kPageRequests : 0) |
           (description.dirty_tracking ? kAccessed | kDirty : 0);
}

HardwareInfo HardwareInfo::of(const Description& description) {
    switch (description.iommu) {
        case IommuKind::intel:
            return of_vtd(description);
        case IommuKind::smmuv3:
            return description.kernel >= vintage::kSmmuv3Info ? of_smmuv3(description) : HardwareInfo{};
        case IommuKind::amd:
            return description.kernel >= vintage::kAmdInfo
                       ? as_info(uapi::kHwInfoAmd,
                                 uapi::HwInfoAmd{.efr = amd_features_of(description), .efr2 = 0})
                       : HardwareInfo{};
        case IommuKind::virtio:
            return {};
    }
    return {};
}

}  // namespace iommufd::inline v0_1::model
